"""Every refusal is in the table of docs/http.md and in the OpenAPI document, under its status."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copperplate import denials, errors
from copperplate.budgets import Refusal, RefusalReason
from copperplate.denials import NotEnoughCredits, error_of
from copperplate.errors import CopperplateError, Signal
from copperplate.http.problems import Problem
from copperplate.http.schemas.problems import SpendingProblemOut
from copperplate.http.spending_problems import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
# Raised as one of its children; a purge's, which no route makes.
NEVER_ANSWERED = {"forbidden", "spending_refused", "unavailable", "cdn_unavailable", "redis_unavailable"}
# By its class, for any status.
OF_ANY_STATUS = {"generation_failed"}


def descendants(parent: type[CopperplateError]) -> Iterator[type[CopperplateError]]:
    for child in parent.__subclasses__():
        if child.__module__ in (errors.__name__, denials.__name__):
            yield child
            yield from descendants(child)


ANSWERED = [
    each
    for each in descendants(CopperplateError)
    if not issubclass(each, Signal) and each.code not in NEVER_ANSWERED | OF_ANY_STATUS
]
OF_OTHER_ROUTES = {
    *("invalid_batch", "invalid_items", "batch_needs_name", "not_owner", "warming_needs_key"),
    *("invalid_event_token", "too_many_streams", "too_many_streams_of_address"),
    *("upload_needs_name", "address_needs_name", "too_many_fetches", "too_many_fetches_of_caller"),
    "too_many_uploads_of_caller",
}
REFUSED = [each for each in ANSWERED if each.__module__ == denials.__name__ and each.code not in OF_OTHER_ROUTES]


def codes_by_status() -> set[tuple[int, str]]:
    """Of the rows `| 402 | `code`, `code` | … |`."""
    rows = re.findall(r"^\| ([\d, ]+) \| ([^|]+) \|", (DOCS / "http.md").read_text(), re.MULTILINE)
    return {
        (int(status), code)
        for statuses, codes in rows
        for status in statuses.split(", ")
        for code in re.findall(r"`(\w+)`", codes)
    }


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: error.__name__)
def test_every_answer_is_in_the_table_of_codes_under_its_status(error: type[CopperplateError]) -> None:
    assert (error.status, error.code) in codes_by_status()


@pytest.mark.parametrize("error", [*REFUSED, NotEnoughCredits], ids=lambda error: error.__name__)
def test_every_refusal_is_told_by_the_document_under_its_status(error: type[CopperplateError]) -> None:
    assert f"`{error.code}`" in REFUSALS[error.status]["description"]


def test_both_routes_that_make_pictures_tell_the_refusals() -> None:
    paths = json.loads((DOCS / "openapi.json").read_text())["paths"]
    for path, method in (("/{width}x{height}.{format}", "get"), ("/api/generate-memoji", "post")):
        told = paths[path][method]["responses"]
        assert {status: told[str(status)] for status in REFUSALS} == REFUSALS


@pytest.mark.parametrize("reason", list(RefusalReason))
@pytest.mark.parametrize("is_capped", [True, False])
def test_a_refusal_has_the_shape_that_the_document_promises(reason: RefusalReason, *, is_capped: bool) -> None:
    refusal = Refusal(
        reason=reason,
        budget="anonymous" if is_capped else "prepaid/all",
        retry_after=timedelta(seconds=5),
        left_micro_usd=1 if is_capped else None,
        left_pictures=None if is_capped else 0,
        resets_at=datetime(2026, 12, 1, tzinfo=UTC) if is_capped else None,
    )
    problem = Problem.of(error_of(refusal, "somebody"))
    body = json.loads(problem.body)
    assert body.keys() == SpendingProblemOut.model_fields.keys()
    SpendingProblemOut.model_validate_json(problem.body, strict=True)
    assert problem.headers["cache-control"] == "no-store"
    assert problem.headers["retry-after"] == "5"
    expected = ("2026-12-01T00:00:00Z", 0.000001) if is_capped else (None, None)
    assert (body["resets_at"], body["left_usd"]) == expected


@pytest.mark.parametrize("caps", [(0, None), (None, 0)])
@pytest.mark.parametrize(
    ("budget", "whom"),
    [
        ("all", "new pictures here"),
        ("prepaid/all", "new pictures here"),
        ("anonymous", "callers whom this service does not know"),
        ("key:1", "this API key"),
        ("model:fal/x", "this model"),
    ],
)
def test_a_cap_of_zero_is_told_as_what_is_set_aside_for_nobody(
    budget: str, whom: str, caps: tuple[int | None, int | None]
) -> None:
    refusal = Refusal(
        reason=RefusalReason.USED_UP,
        budget=budget,
        retry_after=timedelta(hours=1),
        cap_micro_usd=caps[0],
        cap_pictures=caps[1],
    )
    assert f"nothing is set aside for {whom}." in str(error_of(refusal, None))
