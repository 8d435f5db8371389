"""What callers are told of a generation, by a look or by a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from copperplate.recipes.kinds import KINDS
from copperplate.wishes import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from copperplate.failure_classes import FailureClass
    from copperplate.model import Entry
    from copperplate.wishes import GenerationState

_ABANDONED: Final = "abandoned"


def told_of(state: GenerationState, url_of: Callable[[Entry], str]) -> dict[str, Any]:
    """The state as JSON has it; `url_of` is where a picture is. What does not apply is null.

    Pictures without an address for good have none here: it would be told to all who follow.
    """
    entry = state.entry if KINDS[state.kind].is_public else None
    return {
        "key": state.generation_key,
        "status": state.state.value,
        "kind": state.kind,
        "created_at": _time(state.created_at),
        "started_at": _time(state.started_at),
        "usual_seconds": None if state.usual_seconds is None else round(state.usual_seconds, 1),
        "url": None if entry is None else url_of(entry),
        "error": _error(state) if state.state is State.FAILED else None,
    }


def _error(state: GenerationState) -> dict[str, Any]:
    failure: FailureClass | None = state.failure_class
    return {
        "code": _ABANDONED if failure is None else failure.value,
        "detail": "Nobody makes this picture any more. Ask for it anew." if failure is None else failure.public_message,
        "retry_after_seconds": round(state.retry_after.total_seconds()),
    }


def _time(moment: datetime | None) -> str | None:
    """RFC 3339, in full seconds: what is told twice is told alike."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
