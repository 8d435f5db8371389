"""How long a failure is remembered: the table, and its bounds."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from copperplate.failure_classes import FailureClass
from copperplate.generation.retry_policy import (
    BACKOFF_CAP,
    BACKOFF_FIRST,
    DAY,
    MAX_ATTEMPTS,
    PAUSES,
    RETRY_AFTER_MIN,
    refusal_pause,
    retry_after,
)

GROWING = [each for each, pause in PAUSES.items() if pause is None]


def pause(
    failure_class: FailureClass, attempt: int = 1, *, hint: float | None = None, jitter: float = 0.5
) -> timedelta:
    wish = None if hint is None else timedelta(seconds=hint)
    return retry_after(failure_class, attempt=attempt, hint=wish, jitter=jitter)


def test_every_failure_class_has_a_policy() -> None:
    assert set(PAUSES) == set(FailureClass)


def test_figures_are_the_promised_ones() -> None:
    assert MAX_ATTEMPTS == 3
    seconds = [each.total_seconds() for each in (RETRY_AFTER_MIN, BACKOFF_FIRST, BACKOFF_CAP, DAY)]
    assert seconds == [1, 5, 900, 86_400]


@pytest.mark.parametrize(
    ("failure_class", "expected"),
    [
        (FailureClass.MODERATED, timedelta(days=1)),
        (FailureClass.INVALID, timedelta(hours=1)),
        (FailureClass.AMBIGUOUS, timedelta(days=1)),
        (FailureClass.ACCOUNT, timedelta(seconds=15)),
        (FailureClass.STORE, timedelta(seconds=15)),
        (FailureClass.ABANDONED, timedelta(0)),
        (FailureClass.MISSING_OBJECT, timedelta(0)),
    ],
)
@pytest.mark.parametrize("attempt", [1, 2, 3, 50])
def test_fixed_rest_depends_on_nothing_else(failure_class: FailureClass, expected: timedelta, attempt: int) -> None:
    assert pause(failure_class, attempt, hint=7, jitter=0.9) == expected


@pytest.mark.parametrize("failure_class", GROWING)
@pytest.mark.parametrize(
    ("hint", "expected"),
    [(-1, 1), (0, 1), (0.3, 1), (1, 1), (40, 40), (900, 900), (901, 900), (10**9, 900)],
)
def test_wish_of_the_provider_is_honoured_between_a_second_and_fifteen_minutes(
    failure_class: FailureClass, hint: float, expected: float
) -> None:
    assert pause(failure_class, hint=hint) == timedelta(seconds=expected)


def test_backoff_doubles_up_to_its_cap() -> None:
    # A limited rate costs no attempt, so it alone can come this far.
    rests = [pause(FailureClass.RATE_LIMITED, attempt).total_seconds() for attempt in range(1, 12)]
    assert rests[:4] == [5, 10, 20, 40]
    assert all(after in (2 * before, 900) for before, after in pairwise(rests))
    assert rests[-1] == 900


@pytest.mark.parametrize("attempt", [1, 2, 9, 1_000_000])
@pytest.mark.parametrize("jitter", [0, 0.25, 0.999999])
def test_jitter_spreads_by_half_and_never_beyond_the_cap(attempt: int, jitter: float) -> None:
    middle = min(5 * 2 ** min(attempt - 1, 16), 900)
    spread = pause(FailureClass.RATE_LIMITED, attempt, jitter=jitter).total_seconds()
    assert middle * 0.5 <= spread <= min(middle * 1.5, 900)
    assert spread == pytest.approx(min(middle * (0.5 + jitter), 900))


@pytest.mark.parametrize("failure_class", [FailureClass.TRANSIENT, FailureClass.BAD_OUTPUT])
@pytest.mark.parametrize("hint", [None, 5])
def test_third_failed_attempt_rests_until_the_day_is_over(failure_class: FailureClass, hint: float | None) -> None:
    assert pause(failure_class, 2, hint=hint) < timedelta(minutes=1)
    assert pause(failure_class, 3, hint=hint) == pause(failure_class, 4, hint=hint) == timedelta(days=1)


def test_limited_rate_never_rests_a_day() -> None:
    assert pause(FailureClass.RATE_LIMITED, 3, hint=20) == timedelta(seconds=20)


def test_refusal_rests_for_seconds_and_for_longer_where_asking_again_costs() -> None:
    assert [refusal_pause(billed=billed).total_seconds() for billed in (False, True)] == [15, 120]
