"""Pictures whose callers need not wait: found, or promised and told of by 202 (RFC 7240, 4.1)."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from copperplate.errors import LedgerUnavailable
from copperplate.http.api import RETRY_SECONDS
from copperplate.http.event_addresses import generation_events
from copperplate.http.problems import HEADERS
from copperplate.recipes.kinds import KINDS
from copperplate.wishes import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.generation.lookup import LookupOptions, LookupResult
    from copperplate.http.preferences import Preferences
    from copperplate.model import PictureRequest
    from copperplate.services import Services
    from copperplate.wishes import GenerationState, NewWish
    from copperplate.work.promises import Promised


async def find_or_promise(
    services: Services,
    request: PictureRequest,
    options: LookupOptions,
    wish: NewWish,
    *,
    within_seconds: float | None,
    kept: int | None = None,
) -> LookupResult | Promised:
    """The form asked for if it is there `within_seconds`, or the promise that it will be. See `Promises.start`."""
    return await services.promises.start(
        request,
        options,
        wish,
        find=partial(services.renditions.find, request),
        kept=kept,
        within_seconds=within_seconds,
    )


async def promise_told(services: Services, kind: str, key: str, *, base: str) -> dict[str, Any]:
    """What a 202 tells its caller of the generation: its state, and where its progress is streamed."""
    state = events = None
    with contextlib.suppress(LedgerUnavailable):  # the promise stands
        state = await services.ledger.generation_state(key, with_usual_time=True)
        token = await services.event_tokens.hand_out(key) if KINDS[kind].is_private else None
        events = base + generation_events(key, token)
    return {
        "success": True,
        "status": _status_of(state),
        "kind": kind,
        "key": key,
        "events": events,
        "usual_seconds": None if state is None else state.usual_seconds,
    }


def promise_headers(key: str, preferences: Preferences) -> Mapping[str, str]:
    """The headers of such an answer, in lower case."""
    applied = {"preference-applied": preferences.applied} if preferences.applied else {}
    location = {"location": f"/api/generations/{key}", "retry-after": str(RETRY_SECONDS)}
    return {**HEADERS, **location, **applied}


def _status_of(state: GenerationState | None) -> str:
    is_pending = state is not None and state.state is State.PENDING
    # What ended in the meantime is told by the next look.
    return State.PENDING.value if is_pending else State.GENERATING.value
