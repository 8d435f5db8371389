"""How a wish ends that a process took: by the picture, or by the error that its generation raised. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.denials import BudgetInFlight, SpendingRefused, TooManyInFlight
from copperplate.errors import (
    CopperplateError,
    GenerationFailed,
    Misconfigured,
    Signal,
    StillGenerating,
    TooManyWaiters,
    Unavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.wishes import Settlement, WishStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

MADE: Final = Settlement(status=WishStatus.COMPLETED)
# The process that held it ends: the next one may begin at once.
HANDED_OVER: Final = Settlement(status=WishStatus.OPEN)

# Where an error says no pause of its own: a setting is at fault, or the program.
PAUSE: Final = timedelta(minutes=1)
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
# The same of a generation that failed: whether a later attempt may succeed without a second bill.
_IS_PASSING: Final[Mapping[FailureClass, bool]] = {
    FailureClass.MODERATED: False,
    FailureClass.INVALID: False,
    FailureClass.RATE_LIMITED: True,
    FailureClass.TRANSIENT: True,
    FailureClass.AMBIGUOUS: False,
    FailureClass.BAD_OUTPUT: False,
    FailureClass.ACCOUNT: True,
    FailureClass.STORE: True,
    FailureClass.ABANDONED: True,
    FailureClass.MISSING_OBJECT: True,
    FailureClass.UNCOLLECTED: True,
    FailureClass.LOST: False,
}


def settlement_of(error: Exception, *, tries: int = 1) -> Settlement:
    """How a wish ends whose generation raised `error`; `tries` counts how often it was taken.

    A failure has the class of the generation's failure as its code, else the code of the error. An error that nobody
    planned puts the wish back, each time for longer: a day later it is abandoned.
    """
    if isinstance(error, GenerationFailed):
        if _IS_PASSING[error.failure_class]:
            return _put_back(error, tries)
        return Settlement(status=WishStatus.FAILED, code=error.failure_class.value)
    if isinstance(error, SpendingRefused) and error.refusal.is_closed:
        # Of a cap of zero: no reset helps.
        return Settlement(status=WishStatus.FAILED, code=SpendingRefused.code)
    if isinstance(error, CopperplateError) and not isinstance(error, _PASSING):
        return Settlement(status=WishStatus.FAILED, code=error.code)
    return _put_back(error, tries)


def not_here(*, tries: int) -> Settlement:
    """How a wish is put back whose kind or model this process does not offer: others may."""
    return Settlement(status=WishStatus.OPEN, retry_after=_pause(tries, MAX_PAUSE_NOT_HERE))


def _put_back(error: Exception, tries: int) -> Settlement:
    seconds = error.retry_after_seconds if isinstance(error, CopperplateError) else None
    if seconds is not None:
        return Settlement(status=WishStatus.OPEN, retry_after=timedelta(seconds=seconds))
    return Settlement(status=WishStatus.OPEN, retry_after=_pause(tries, MAX_PAUSE))


def _pause(tries: int, most: timedelta) -> timedelta:
    # Bounded before it is raised to a power: a wish may be taken any number of times.
    doublings = min(max(0, tries - 1), 6)
    return min(most, PAUSE * int(2**doublings))
