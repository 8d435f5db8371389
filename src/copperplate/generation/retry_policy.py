"""How long a failure is remembered: one table, one row per class. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from copperplate.failure_classes import FailureClass

# A generation gets this many attempts a day; after the last failure it rests until the day is over.
MAX_ATTEMPTS = 3
DAY = timedelta(days=1)
BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_CAP = timedelta(minutes=15)
RETRY_AFTER_MIN = timedelta(seconds=1)
# A refused call costs nothing, and that a person mended something is to be noticed soon; a billed one costs.
REFUSAL_PAUSE = timedelta(seconds=15)
BILLED_REFUSAL_PAUSE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What happens after a failure of one class: a fixed `pause`, or, without one, a growing backoff."""

    pause: timedelta | None
    counts_as_attempt: bool


POLICIES: dict[FailureClass, Policy] = {
    FailureClass.MODERATED: Policy(pause=DAY, counts_as_attempt=True),
    FailureClass.INVALID: Policy(pause=timedelta(hours=1), counts_as_attempt=True),
    FailureClass.RATE_LIMITED: Policy(pause=None, counts_as_attempt=False),
    FailureClass.TRANSIENT: Policy(pause=None, counts_as_attempt=True),
    FailureClass.AMBIGUOUS: Policy(pause=DAY, counts_as_attempt=True),
    FailureClass.BAD_OUTPUT: Policy(pause=None, counts_as_attempt=True),
    # Every prompt rests with the service, by its breaker; none is remembered for longer.
    FailureClass.ACCOUNT: Policy(pause=REFUSAL_PAUSE, counts_as_attempt=False),
    FailureClass.STORE: Policy(pause=REFUSAL_PAUSE, counts_as_attempt=False),
    # The ledger sets these two itself, with its own times.
    FailureClass.ABANDONED: Policy(pause=timedelta(0), counts_as_attempt=False),
    FailureClass.MISSING_OBJECT: Policy(pause=timedelta(0), counts_as_attempt=True),
    # The next leader collects again, after `collect_again_after`.
    FailureClass.UNCOLLECTED: Policy(pause=None, counts_as_attempt=False),
    # One new submit at once, by `submit_again_after`; a second loss in a row rests.
    FailureClass.LOST: Policy(pause=None, counts_as_attempt=True),
}


def retry_after(failure_class: FailureClass, *, attempt: int, hint: timedelta | None, jitter: float) -> timedelta:
    """The TTL of the negative entry after attempt number `attempt` (from 1) of the day.

    `hint` is the provider's `Retry-After`, honoured between 1 s and 15 min. `jitter` in [0, 1)
    spreads the backoff 5 s × 2^(attempt-1), at most 15 min, by ±50 %.
    """
    policy = POLICIES[failure_class]
    if policy.pause is not None:
        return policy.pause
    if policy.counts_as_attempt and attempt >= MAX_ATTEMPTS:
        return DAY
    backoff = min(BACKOFF_FIRST * (1 << min(attempt - 1, 16)), BACKOFF_CAP) * (0.5 + jitter)
    if hint is None:
        return min(backoff, BACKOFF_CAP)
    # Never before the `Retry-After` of the provider, within reason.
    return min(max(hint, RETRY_AFTER_MIN), BACKOFF_CAP)


def refusal_pause(*, billed: bool) -> timedelta:
    """How long a service rests that refuses us whatever the prompt, and every prompt with it."""
    return BILLED_REFUSAL_PAUSE if billed else REFUSAL_PAUSE


def collect_again_after(age: timedelta, *, first: timedelta, retention: timedelta) -> timedelta:
    """How long a job noted `age` ago is left alone before it is collected again: half its age.

    At least `first`, at most 15 min, and not past the end of its `retention`: about a hundred collections a day.
    """
    return max(first, min(age / 2, BACKOFF_CAP, retention - age))


def submit_again_after(attempt: int) -> timedelta:
    """The rest after a job was lost for good: none the first time; a provider that loses job after job rests a day."""
    return timedelta(0) if attempt < 2 else DAY
