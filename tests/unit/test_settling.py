"""How a wish ends, row by row: every error there is, and every class of failure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from copperplate import denials, errors
from copperplate.budgets import Refusal, RefusalReason
from copperplate.errors import CopperplateError
from copperplate.failure_classes import FailureClass
from copperplate.wishes import Settlement, WishStatus
from copperplate.work.settling import settlement_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED, OPEN = WishStatus.FAILED, WishStatus.OPEN
# Seconds until it is due again; None: it has failed, under the error's own code.
ROWS: Final[dict[str, float | None]] = {
    "CopperplateError": None,
    "InvalidRequest": None,
    "InvalidText": None,
    "InvalidSize": None,
    "InvalidFormat": None,
    "InvalidDisplay": None,
    "InvalidSeed": None,
    "InvalidModel": None,
    "InvalidConfiguration": None,
    "InvalidQuery": None,
    "InvalidHost": None,
    "UnknownParameter": None,
    "InvalidBody": None,
    "BodyTooLarge": None,
    "UnsupportedMediaType": None,
    "InvalidIdempotencyKey": None,
    "Unauthorized": None,
    "IdempotencyConflict": None,
    "PictureGone": None,
    "NotFound": None,
    "MethodNotAllowed": None,
    "NotGenerated": None,
    "NotCached": None,
    "StillGenerating": 5,
    "TooManyWaiters": 5,
    "Unavailable": 5,
    "LedgerUnavailable": 5,
    "PoolerExhausted": 5,
    "StoreUnavailable": 5,
    "FolderUnavailable": 5,
    "UnsatisfiableRange": None,
    "CdnUnavailable": 5,
    "RedisUnavailable": 5,
    "KeysUnavailable": 5,
    "Misconfigured": 60,
    "LedgerMisconfigured": 60,
    "StoreMisconfigured": 60,
    "Signal": 60,
    "LeaseLost": 60,
    "ObjectMissing": 60,
    "ObjectConflict": 60,
    "ProviderFailed": 60,
    "NoPicture": 60,
    "Uncollected": 60,
    "AccessDenied": None,
    "Forbidden": None,
    "MissingScope": None,
    "InvalidSignature": None,
    "SignatureExpired": None,
    "TooManyWrongKeys": None,
    "TooManyOpenWishes": None,
    "TakenDown": None,
    "NotEnoughCredits": None,
    "SpendingRefused": None,
    "BudgetExhausted": None,
    "BudgetInFlight": 7,
    "TooManyInFlight": 7,
    "InvalidBatch": None,
    "BatchNeedsName": None,
    "UploadNeedsName": None,
    "AddressNeedsName": None,
    "TooManyFetches": None,
    "TooManyFetchesOfCaller": None,
    "TooManyUploadsOfCaller": None,
    "WarmingNeedsKey": None,
    "MemojiNeedsSignIn": None,
    "NotOwner": None,
    "InvalidEventToken": None,
    "TooManyStreams": None,
    "TooManyStreamsOfAddress": None,
}
CLASSES: Final[dict[FailureClass, bool]] = {
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
REFUSAL: Final = Refusal(reason=RefusalReason.USED_UP, budget="all", retry_after=timedelta(seconds=7))
# What it takes to raise those that need more than words.
ARGUMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "MethodNotAllowed": ("GET",),
    "StillGenerating": (),
    "BatchNeedsName": (),
    "UploadNeedsName": (),
    "AddressNeedsName": (),
    "TooManyFetches": (),
    "TooManyFetchesOfCaller": (2,),
    "TooManyUploadsOfCaller": (20, 600),
    "WarmingNeedsKey": (),
    "MemojiNeedsSignIn": (),
    "NotOwner": (),
    "TooManyStreams": (),
    "TooManyWrongKeys": (60,),
    "TooManyOpenWishes": (),
    "TakenDown": (),
    "NotEnoughCredits": (UUID(int=1),),
    "SpendingRefused": (REFUSAL, None),
    "BudgetExhausted": (REFUSAL, None),
    "BudgetInFlight": (REFUSAL, None),
    "TooManyInFlight": (REFUSAL, None),
    "ProviderFailed": (FailureClass.TRANSIENT, "words"),
}


def tree(error: type[CopperplateError]) -> Iterator[type[CopperplateError]]:
    yield error
    for leaf in error.__subclasses__():
        yield from tree(leaf)


def everything() -> dict[str, type[CopperplateError]]:
    """Every error of the program; a failed generation has a table of its own."""
    ours = (errors.__name__, denials.__name__)
    found = {error.__name__: error for error in tree(CopperplateError) if error.__module__ in ours}
    del found["GenerationFailed"]
    del found["InvalidItems"]  # of a whole batch, before there is a wish
    return found


def test_every_error_has_a_row() -> None:
    assert set(ROWS) == set(everything())
    assert set(CLASSES) == set(FailureClass)


@pytest.mark.parametrize("name", ROWS)
def test_each_error_ends_a_wish_as_its_row_says(name: str) -> None:
    error = everything()[name](*ARGUMENTS.get(name, ("words",)))
    seconds = ROWS[name]
    if seconds is None:
        assert settlement_of(error) == Settlement(status=FAILED, code=error.code)
    else:
        assert settlement_of(error) == Settlement(status=OPEN, retry_after=timedelta(seconds=seconds))


@pytest.mark.parametrize("failure_class", CLASSES)
def test_each_class_of_failure_ends_a_wish_as_its_row_says(failure_class: FailureClass) -> None:
    settlement = settlement_of(errors.GenerationFailed(failure_class, timedelta(seconds=30)))
    if CLASSES[failure_class]:
        assert settlement == Settlement(status=OPEN, retry_after=timedelta(seconds=30))
    else:
        assert settlement == Settlement(status=FAILED, code=failure_class.value)


def test_a_job_that_is_not_collected_yet_is_due_when_it_may_be() -> None:
    error = errors.StillGenerating(timedelta(seconds=90))
    assert settlement_of(error) == Settlement(status=OPEN, retry_after=timedelta(seconds=90))


@pytest.mark.parametrize(("tries", "minutes"), [(0, 1), (1, 1), (2, 2), (3, 4), (7, 60), (10**9, 60)])
def test_an_error_nobody_planned_puts_it_back_each_time_for_longer(tries: int, minutes: int) -> None:
    settlement = settlement_of(ValueError("a bug"), tries=tries)
    assert settlement == Settlement(status=OPEN, retry_after=timedelta(minutes=minutes))


@pytest.mark.parametrize(("tries", "seconds"), [(0, 5), (1, 5), (2, 10), (5, 80), (11, 3_600), (10**9, 3_600)])
def test_a_limit_of_the_rate_puts_it_back_each_time_for_longer(tries: int, seconds: int) -> None:
    error = errors.GenerationFailed(FailureClass.RATE_LIMITED, timedelta(seconds=4))
    assert settlement_of(error, tries=tries) == Settlement(status=OPEN, retry_after=timedelta(seconds=seconds))


def test_the_pause_that_a_provider_asks_for_is_kept() -> None:
    error = errors.GenerationFailed(FailureClass.RATE_LIMITED, timedelta(minutes=15))
    assert settlement_of(error, tries=3) == Settlement(status=OPEN, retry_after=timedelta(minutes=15))


@pytest.mark.parametrize("failure_class", CLASSES)
def test_a_pause_beyond_an_hour_ends_it(failure_class: FailureClass) -> None:
    settlement = settlement_of(errors.GenerationFailed(failure_class, timedelta(days=1)))
    assert settlement == Settlement(status=FAILED, code=failure_class.value)


@pytest.mark.parametrize("failure_class", CLASSES)
def test_a_strangers_ends_with_every_failure(failure_class: FailureClass) -> None:
    settlement = settlement_of(errors.GenerationFailed(failure_class, timedelta(seconds=30)), is_of_stranger=True)
    assert settlement == Settlement(status=FAILED, code=failure_class.value)


@pytest.mark.parametrize("name", ROWS)
def test_a_strangers_is_kept_only_where_nothing_was_given_back(name: str) -> None:
    error = everything()[name](*ARGUMENTS.get(name, ("words",)))
    is_kept = name in ("StillGenerating", "TooManyWaiters", "LedgerUnavailable", "PoolerExhausted")
    settlement = settlement_of(error, is_of_stranger=True)
    assert (settlement.status, settlement.code) == ((OPEN, None) if is_kept else (FAILED, error.code))


def test_a_strangers_ends_with_an_error_nobody_planned() -> None:
    settlement = settlement_of(ValueError("a bug"), is_of_stranger=True)
    assert settlement == Settlement(status=FAILED, code="generation_failed")
