"""How a wish ends that a process took: by the picture, or by the error that its generation raised. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from copperplate.denials import BudgetInFlight, SpendingRefused, TooManyInFlight
from copperplate.errors import (
    CopperplateError,
    GenerationFailed,
    LedgerUnavailable,
    Misconfigured,
    Signal,
    StillGenerating,
    TooManyWaiters,
    Unavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.wishes import Settlement, WishStatus

MADE: Final = Settlement(status=WishStatus.COMPLETED)
# The process that held it ends: the next one may begin at once.
HANDED_OVER: Final = Settlement(status=WishStatus.OPEN)

# Where an error says no pause of its own: a setting is at fault, or the program.
PAUSE: Final = timedelta(minutes=1)
# After a limit of the provider's rate, which may say no pause either.
RATE_PAUSE: Final = timedelta(seconds=5)
MAX_PAUSE: Final = timedelta(hours=1)
# Shorter: another process may make it all the while.
MAX_PAUSE_NOT_HERE: Final = timedelta(minutes=10)

# Errors after which the same wish may be made later. All others end it: repeating would only repeat the refusal, or
# cost a second time.
_PASSING: Final[tuple[type[CopperplateError], ...]] = (
    StillGenerating,
    TooManyWaiters,
    Unavailable,
    Misconfigured,
    BudgetInFlight,
    TooManyInFlight,
    Signal,  # never leaves the coordinator
)
# After these nothing was given back: somebody else leads, a paid job runs on, or nothing can be written.
_KEEPS_A_STRANGERS: Final[tuple[type[CopperplateError], ...]] = (StillGenerating, TooManyWaiters, LedgerUnavailable)


def settlement_of(error: Exception, *, tries: int = 1, is_of_stranger: bool = False) -> Settlement:
    """How a wish ends whose generation raised `error`; `tries` counts how often it was taken.

    A failure has the class of the generation's failure as its code, else the code of the error. What is put back
    without a pause of its own is put back each time for longer: a day later it is abandoned.

    A stranger's wish is for the death of its leader alone. A failed attempt gives the address its room back, and the
    wish does not name the address: made later, it would be beyond its share.
    """
    may_be_kept = not is_of_stranger or isinstance(error, _KEEPS_A_STRANGERS)
    if may_be_kept and _is_passing(error):
        return _put_back(error, tries)
    return Settlement(status=WishStatus.FAILED, code=_code_of(error))


def _is_passing(error: Exception) -> bool:
    if isinstance(error, GenerationFailed):
        # A pause of a day is for what was billed too often: its day ends before.
        is_late = timedelta(seconds=error.retry_after_seconds or 0) > MAX_PAUSE
        return error.failure_class.is_passing and not is_late
    if _is_closed(error):
        return False
    return not isinstance(error, CopperplateError) or isinstance(error, _PASSING)


def _is_closed(error: Exception) -> bool:
    # Of a cap of zero: no reset helps.
    return isinstance(error, SpendingRefused) and error.refusal.is_closed


def _code_of(error: Exception) -> str:
    if isinstance(error, GenerationFailed):
        return error.failure_class.value
    if _is_closed(error):
        return SpendingRefused.code
    return error.code if isinstance(error, CopperplateError) else GenerationFailed.code


def not_here(*, tries: int) -> Settlement:
    """How a wish is put back whose kind or model this process does not offer: others may."""
    return Settlement(status=WishStatus.OPEN, retry_after=_growing(PAUSE, tries, MAX_PAUSE_NOT_HERE))


def _put_back(error: Exception, tries: int) -> Settlement:
    seconds = error.retry_after_seconds if isinstance(error, CopperplateError) else None
    if seconds is None:
        return Settlement(status=WishStatus.OPEN, retry_after=_growing(PAUSE, tries))
    pause = timedelta(seconds=seconds)
    if isinstance(error, GenerationFailed) and error.failure_class is FailureClass.RATE_LIMITED:
        # No attempt is counted, so the pause of the generation does not grow.
        pause = max(pause, _growing(RATE_PAUSE, tries))
    return Settlement(status=WishStatus.OPEN, retry_after=pause)


def _growing(first: timedelta, tries: int, most: timedelta = MAX_PAUSE) -> timedelta:
    # Bounded before it is raised to a power: a wish may be taken any number of times.
    doublings = min(max(0, tries - 1), 10)
    return min(most, first * (1 << doublings))
