"""Rows of the ledger as values: every outcome is known, and one that is not is refused loudly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from copperplate.adapters.ledger.rows import acquire_result_of, entry_of, peek_result_of, upload_row
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Lead, Miss, Negative, Wait
from copperplate.model import Entry, Job, Phase, Placeholder
from tests.support.pictures import upload

PLACEHOLDER = Placeholder(thumbhash=b"\1\2\3", color="#ff8000")
ENTRY_ROW: dict[str, Any] = {
    "entry_key": "e",
    "generation_key": "g",
    "kind": "image",
    "path": "2026/01/x.png",
    "digest": "d",
    "file_size": 10,
    "format": "png",
    "width": 64,
    "height": 32,
    "is_original": True,
    "thumbhash": "AQID",
    "color": "#ff8000",
    "encoder_version": 2,
    "is_ai_made": True,
}
ENTRY = Entry(
    key="e",
    generation_key="g",
    kind="image",
    path="2026/01/x.png",
    digest="d",
    size_bytes=10,
    format="png",
    width=64,
    height=32,
    is_original=True,
    placeholder=PLACEHOLDER,
    encoder_version=2,
)
LEAD_ROW: dict[str, Any] = {
    "outcome": "lead",
    "fence": 7,
    "phase": "claimed",
    "attempt": 1,
    "submit_no": 0,
    "decode_no": 1,
    "job_age_ms": None,
    "provider_request_id": None,
    "provider_urls": None,
    "intent": None,
}


def test_hit_carries_the_whole_entry() -> None:
    assert acquire_result_of({"outcome": "hit", **ENTRY_ROW}) == Hit(entry=ENTRY)
    assert entry_of({"outcome": "hit", **ENTRY_ROW}) == ENTRY


def test_stale_write_is_no_entry() -> None:
    assert entry_of({"outcome": "stale"}) is None


def test_times_are_milliseconds() -> None:
    assert acquire_result_of({"outcome": "wait", "lease_left_ms": 1_500}) == Wait(lease_left=timedelta(seconds=1.5))
    assert acquire_result_of({"outcome": "negative", "error_class": "moderated", "retry_after_ms": 250}) == Negative(
        failure_class=FailureClass.MODERATED, retry_after=timedelta(seconds=0.25)
    )


def test_free_is_an_answer_to_a_look_and_never_to_acquire() -> None:
    assert peek_result_of({"outcome": "free"}) == Miss()
    with pytest.raises(ValueError, match="differ in version"):
        acquire_result_of({"outcome": "free"})


def test_fresh_lead_has_nothing_left_behind() -> None:
    assert acquire_result_of(LEAD_ROW) == Lead(fence=7, phase=Phase.CLAIMED, attempt=1, submit_no=0, decode_no=1)


def test_picture_without_a_placeholder_is_a_hit_all_the_same() -> None:
    row = {"outcome": "hit", **ENTRY_ROW, "thumbhash": None, "color": None}
    assert acquire_result_of(row) == Hit(entry=replace(ENTRY, placeholder=None))


@pytest.mark.parametrize("urls", [None, {"status_url": "https://queue.example/1"}])
def test_lead_carries_what_a_predecessor_left(urls: dict[str, str] | None) -> None:
    intent = replace(upload("a"), placeholder=PLACEHOLDER, has_c2pa=True)
    left = {"phase": "uploading", "provider_request_id": "r", "provider_urls": urls, "intent": upload_row(intent)}
    lead = acquire_result_of({**LEAD_ROW, **left})
    assert isinstance(lead, Lead)
    assert (lead.job, lead.intent) == (Job(request_id="r", urls=urls or {}), intent)


@pytest.mark.parametrize("row", [{"outcome": "perhaps"}, {"outcome": None}])
def test_outcome_nobody_knows_is_refused_and_named(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{row['outcome']!r}.*differ in version"):
        acquire_result_of(row)
