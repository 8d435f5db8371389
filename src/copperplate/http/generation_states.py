"""What callers are told of a generation, by a look or by a stream."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import StoreMisconfigured, StoreUnavailable
from copperplate.http.addresses import picture_addresses, private_address
from copperplate.recipes.kinds import KINDS
from copperplate.wishes import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.types import Scope

    from copperplate.failure_classes import FailureClass
    from copperplate.model import Entry
    from copperplate.services import Services
    from copperplate.wishes import GenerationState

_ABANDONED: Final = "abandoned"


async def told_with_address(scope: Scope, services: Services, state: GenerationState) -> dict[str, Any]:
    """The state as JSON has it, for who may see it: a private picture has an address that is good for ten minutes.

    Where the store signs none now, the address is null. Raises `InvalidHost`.
    """
    if state.entry is None or KINDS[state.kind].is_public:
        return told_of(state, picture_addresses(scope, services))
    url = expires_at = None
    with contextlib.suppress(StoreUnavailable, StoreMisconfigured):
        url, expires_at = await private_address(scope, services, state.entry)
    return {**told_of(state, lambda _: url), "url_expires_at": _time(expires_at)}


def told_of(state: GenerationState, url_of: Callable[[Entry], str | None]) -> dict[str, Any]:
    """The state as JSON has it; `url_of` is where a picture is. What does not apply is null."""
    return {
        "key": state.generation_key,
        "status": state.state.value,
        "kind": state.kind,
        "created_at": _time(state.created_at),
        "started_at": _time(state.started_at),
        "usual_seconds": None if state.usual_seconds is None else round(state.usual_seconds, 1),
        "url": None if state.entry is None else url_of(state.entry),
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
