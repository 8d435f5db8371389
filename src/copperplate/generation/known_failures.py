"""What an answer of the ledger that is no picture is raised as."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from copperplate.budgets import Refused
from copperplate.denials import NotEnoughCredits, TakenDown, error_of
from copperplate.errors import GenerationFailed, StillGenerating
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Gone, InsufficientCredits, Negative

if TYPE_CHECKING:
    from copperplate.errors import CopperplateError
    from copperplate.generation.lookup import LookupOptions


def error_for(
    answer: Negative | InsufficientCredits | Refused | Gone, options: LookupOptions, *, is_remembered: bool
) -> CopperplateError:
    """The error of an answer to this look-up; `is_remembered`: what failed did so before it."""
    match answer:
        case Negative():
            return failure_of(answer, is_remembered=is_remembered)
        case InsufficientCredits():
            return NotEnoughCredits(options.charge.user if options.charge is not None else None)
        case Refused(refusal=refusal):
            return error_of(refusal, options.payer)
        case Gone():
            return TakenDown()
        case _:
            assert_never(answer)


def failure_of(answer: Negative, *, is_remembered: bool) -> GenerationFailed | StillGenerating:
    """The error of a negative entry. A paid job that is not collected yet is `StillGenerating`, not a failure."""
    if answer.failure_class is FailureClass.UNCOLLECTED:
        return StillGenerating(answer.retry_after)
    return GenerationFailed(answer.failure_class, answer.retry_after, is_remembered=is_remembered)
