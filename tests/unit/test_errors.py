"""The tree of errors is the one the page opens with, and every answer has a code of its own."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate import errors
from copperplate.errors import (
    CopperplateError,
    GenerationFailed,
    LedgerUnavailable,
    MethodNotAllowed,
    Signal,
    StillGenerating,
    StoreUnavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.http.problems import Problem
from copperplate.model import PictureFormat, Size

if TYPE_CHECKING:
    from collections.abc import Iterator


def descendants(parent: type[CopperplateError]) -> Iterator[type[CopperplateError]]:
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from descendants(child)


OURS = list(descendants(CopperplateError))
ANSWERS = [each for each in OURS if not issubclass(each, Signal)]


def test_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"((?:│   |    )*)(?:├── |└── )?([A-Z]\w+)(?: {2,}|$)", line):
            depth = len(match[1]) // 4 + ("── " in line)
            above[depth:] = [match[2]]
            if depth:
                drawn[match[2]] = above[depth - 1]
    assert drawn == {each.__name__: each.__base__.__name__ for each in OURS if each.__base__ is not None}


def test_every_answer_has_a_code_a_title_and_a_summary_of_its_own() -> None:
    assert len({each.code for each in ANSWERS}) == len(ANSWERS)
    assert len({each.title for each in ANSWERS}) == len(ANSWERS)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", each.code) for each in ANSWERS)
    assert all(each.__doc__ for each in OURS)


def test_only_our_own_faults_are_500() -> None:
    assert {each.status for each in ANSWERS} <= {400, 401, 402, 404, 405, 409, 410, 413, 415, 416, 500, 503, 504}
    # Its class decides, per failure.
    assert [each for each in ANSWERS if each.status == 500] == [GenerationFailed]
    assert {each.status for each in OURS if issubclass(each, Signal)} == {500}


def test_where_waiting_helps_the_caller_is_told_how_long() -> None:
    told = {each.__name__ for each in ANSWERS if each.retry_after_seconds}
    unavailable = {f"{name}Unavailable" for name in ("", "Ledger", "Store", "Cdn", "Redis", "Keys")}
    assert told == {"StillGenerating", "TooManyWaiters", "FolderUnavailable", "PoolerExhausted", *unavailable}


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_failed_generation_says_by_its_class_what_the_caller_can_do(failure_class: FailureClass) -> None:
    failed = GenerationFailed(failure_class, timedelta(seconds=40))
    expected = {FailureClass.MODERATED: 422, FailureClass.INVALID: 422, FailureClass.BAD_OUTPUT: 502}
    assert failed.http_status == expected.get(failure_class, 503)
    assert str(failed) == failure_class.public_message
    assert failed.retry_after_seconds == 40


@pytest.mark.parametrize(("seconds", "told"), [(0, 1), (0.2, 1), (1.4, 1), (86_400, 86_400)])
def test_no_caller_is_told_to_ask_again_at_once(seconds: float, told: int) -> None:
    assert GenerationFailed(FailureClass.TRANSIENT, timedelta(seconds=seconds)).retry_after_seconds == told


def test_public_messages_differ_so_that_a_person_can_tell_failures_apart() -> None:
    assert len({each.public_message for each in FailureClass}) == len(FailureClass)


def test_method_that_is_not_offered_names_those_that_are() -> None:
    refused = MethodNotAllowed("GET, HEAD")
    assert (refused.allowed, str(refused), refused.http_status) == ("GET, HEAD", "Use GET, HEAD.", 405)


def test_media_types_are_the_registered_ones() -> None:
    assert {each: each.media_type for each in PictureFormat} == {
        "jpg": "image/jpeg",
        "png": "image/png",
        "webp": "image/webp",
        "avif": "image/avif",
    }


def test_size_covers_what_can_be_cut_from_it() -> None:
    size = Size(width=100, height=50)
    assert size.covers(size)
    assert size.covers(Size(width=64, height=50))
    assert not size.covers(Size(width=101, height=10))
    assert not size.covers(Size(width=10, height=51))
    assert str(size) == "100x50"


def test_no_error_says_what_was_spent() -> None:
    """Whoever raises it does not know: a leader may have lost the ledger after its submit was paid."""
    told = [
        Problem.of(error()).body.decode().lower() for error in (LedgerUnavailable, StoreUnavailable, StillGenerating)
    ]
    assert not [body for body in told if re.search("spent|paid|billed|cost|charged", body)]


def test_picture_that_waits_to_be_collected_is_not_said_to_be_worked_on() -> None:
    waiting, collected_later = (Problem.of(StillGenerating(*rest)) for rest in ((), (timedelta(seconds=9),)))
    assert b"the work goes on" in waiting.body
    assert b"the work goes on" not in collected_later.body
    assert b"could not be fetched yet" in collected_later.body
    assert collected_later.headers["retry-after"] == "9"
