"""What the codes of failed pictures say to people, and whether asking anew may help."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from copperplate import denials
from copperplate.errors import CopperplateError, InvalidRequest, Unauthorized
from copperplate.failure_classes import FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The same request fails again, whenever it is sent.
_LASTING: Final = frozenset(
    {
        FailureClass.MODERATED.value,
        FailureClass.INVALID.value,
        denials.TakenDown.code,
        denials.SpendingRefused.code,
        Unauthorized.code,
    }
)
_CLASSES: Final = frozenset(each.value for each in FailureClass)
_TEXTS: Final[Mapping[str, str]] = {
    FailureClass.ABANDONED.value: "Nobody could make this picture within a day. Ask for it anew.",
    denials.TakenDown.code: "The owner of this service took the picture down. It is not made again.",
    Unauthorized.code: "The API key that asked for this picture was revoked, or has expired.",
    denials.SpendingRefused.code: "This picture has to be made, and nothing is set aside for whoever asked for it.",
    "budget_exhausted": "This picture has to be made, and the budget is used up. Ask again when it is reset.",
    "not_enough_credits": "This picture has to be made, and there was no credit left for it.",
}


def detail_of(code: str) -> str:
    """One or two sentences for people; those of a code that nobody knows say that much."""
    if (told := _TEXTS.get(code)) is not None:
        return told
    if code in _CLASSES:
        # There is no such header in a list of members.
        return FailureClass(code).public_message.replace(" after Retry-After", " later")
    error = _errors().get(code)
    return "The picture could not be made." if error is None else f"{error.title}."


def may_help_to_ask_anew(code: str) -> bool:
    """Whether the same request may end otherwise later."""
    error = _errors().get(code)
    is_callers = error is not None and issubclass(error, InvalidRequest | denials.Forbidden)
    return code not in _LASTING and not is_callers


@cache
def _errors() -> Mapping[str, type[CopperplateError]]:
    return {error.code: error for error in _leaves(CopperplateError)}


def _leaves(error: type[CopperplateError]) -> Iterator[type[CopperplateError]]:
    yield error
    for leaf in error.__subclasses__():
        yield from _leaves(leaf)
