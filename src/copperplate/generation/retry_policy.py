"""How long a failure is remembered. Pure."""

from __future__ import annotations

from datetime import timedelta

from copperplate.failure_classes import FailureClass

# After this many failed attempts within a day, the next one is a day after the last failure.
MAX_ATTEMPTS = 3
DAY = timedelta(days=1)
BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_CAP = timedelta(minutes=15)
RETRY_AFTER_MIN = timedelta(seconds=1)
# Short, so that a repaired account or store is noticed soon; longer where each try is billed.
REFUSAL_PAUSE = timedelta(seconds=15)
BILLED_REFUSAL_PAUSE = timedelta(minutes=2)


# The pause after a failure of each class; None: a growing backoff. `retry_after` is asked for providers' failures only.
PAUSES: dict[FailureClass, timedelta | None] = {
    FailureClass.MODERATED: DAY,
    FailureClass.INVALID: timedelta(hours=1),
    FailureClass.RATE_LIMITED: None,
    FailureClass.TRANSIENT: None,
    FailureClass.AMBIGUOUS: DAY,
    FailureClass.BAD_OUTPUT: None,
    # The breakers of these two refuse every prompt meanwhile, for `refusal_pause`.
    FailureClass.ACCOUNT: REFUSAL_PAUSE,
    FailureClass.STORE: REFUSAL_PAUSE,
    # No call failed: the next leader may begin at once.
    FailureClass.ABANDONED: timedelta(0),
    FailureClass.MISSING_OBJECT: timedelta(0),
    # A paid job: `collect_again_after` and, once it is lost, `submit_again_after` say when.
    FailureClass.UNCOLLECTED: None,
    FailureClass.LOST: None,
}


def retry_after(failure_class: FailureClass, *, attempt: int, hint: timedelta | None, jitter: float) -> timedelta:
    """The TTL of the negative entry after attempt number `attempt` (from 1) of the day.

    `hint` is the provider's `Retry-After`, honoured between 1 s and 15 min. `jitter` in [0, 1)
    spreads the backoff 5 s × 2^(attempt-1), at most 15 min, by ±50 %.
    """
    pause = PAUSES[failure_class]
    if pause is not None:
        return pause
    if failure_class.counts_as_attempt and attempt >= MAX_ATTEMPTS:
        return DAY
    backoff = min(BACKOFF_FIRST * (1 << min(attempt - 1, 16)), BACKOFF_CAP) * (0.5 + jitter)
    if hint is None:
        return min(backoff, BACKOFF_CAP)
    # Never before the `Retry-After` of the provider, within reason.
    return min(max(hint, RETRY_AFTER_MIN), BACKOFF_CAP)


def refusal_pause(*, billed: bool) -> timedelta:
    """How long the breaker stays open for a service that refuses us whatever the prompt."""
    return BILLED_REFUSAL_PAUSE if billed else REFUSAL_PAUSE


def collect_again_after(age: timedelta, *, first: timedelta, retention: timedelta) -> timedelta:
    """The pause before a job noted `age` ago is collected again: half its age, about a hundred collections a day.

    At most 15 min and until the end of its `retention`; at least `first`, even if the retention ends before.
    """
    return max(first, min(age / 2, BACKOFF_CAP, retention - age))


def submit_again_after(attempt: int) -> timedelta:
    """The pause after a job was lost: none after the first attempt of the day, a day after any later one."""
    return timedelta(0) if attempt < 2 else DAY
