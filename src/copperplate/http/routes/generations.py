"""`GET /api/generations/{key}`: what became of a picture, whatever its kind. Its stream is in `http/streams.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from copperplate.access.visibility import may_see
from copperplate.accounts.user_requests import Delivered, Failed
from copperplate.denials import InvalidEventToken, TakenDown
from copperplate.errors import NotFound
from copperplate.generation.losses import is_lost
from copperplate.http.addresses import picture_addresses
from copperplate.http.api import RETRY_SECONDS, preflight
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.event_addresses import NOT_PERMITTED, generation_events
from copperplate.http.generation_states import told_of, told_with_address
from copperplate.http.openapi import FOR_ANYBODY
from copperplate.http.origin import base_url_of
from copperplate.http.schemas.generations import GenerationAnswer
from copperplate.ledger_answers import Gone
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.recipes.objects import KEY, original_key
from copperplate.wishes import State

if TYPE_CHECKING:
    from copperplate.access.caller import Caller
    from copperplate.services import Services
    from copperplate.wishes import GenerationState

PREFLIGHT: Final = preflight("GET", "prefer", "x-api-key")
_UNKNOWN: Final = "Nobody asked for such a picture, or it was long ago, or it is told to those alone who asked for it."

Token = Annotated[
    str | None, Query(description="Of a processed picture: that of its `events`, in place of a credential")
]

router = APIRouter(dependencies=[Depends(no_store)])


@router.get("/api/generations/{key}", responses=PROBLEMS, tags=["generate"], openapi_extra=FOR_ANYBODY)
async def look_at_generation(
    key: str, request: Request, response: Response, services: ServicesDep, token: Token = None
) -> GenerationAnswer:
    """What became of a picture: of an image for whoever has its key, of a memoji for those who asked for it, signed in.

    Of a processed picture for those who had the bytes that it is made from, and for who has a token of its stream.
    410 for what was taken down, whatever it was: `/api/images` and its address tell the same. 404 for every other key,
    whether there is such a picture or not.
    """
    caller = await caller_of(request.scope, services)
    if KEY.fullmatch(key) is None:
        raise NotFound("A key has 64 hexadecimal digits.")
    base = base_url_of(request.scope, services.settings)
    if token is not None and not await services.event_tokens.permits(key, token):
        raise InvalidEventToken(NOT_PERMITTED)
    state = await services.ledger.generation_state(key, with_usual_time=True)
    if state is not None and state.kind == PROCESSED.name:
        answer = await _told_of_processed(state, caller, request, services, has_token=token is not None)
    elif state is not None and not KINDS[state.kind].is_private:
        answer = GenerationAnswer.of(told_of(state, picture_addresses(request.scope, services)), state.entry)
    else:
        answer = await _told_to_owner(key, state, caller, request, services)
    if answer.status in (State.PENDING.value, State.GENERATING.value):
        services.work.note_due()
        response.headers["retry-after"] = str(RETRY_SECONDS)
        is_private = answer.kind is None or KINDS[answer.kind].is_private
        token = await services.event_tokens.hand_out(key) if is_private else None
        answer.events = base + generation_events(key, token)
    return answer


@router.options("/api/generations/{key}", include_in_schema=False)
async def answer_preflight(key: str) -> Response:  # noqa: ARG001 - part of the path
    """Any origin may ask: neither key nor token is a cookie, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


async def _told_of_processed(
    state: GenerationState, caller: Caller, request: Request, services: Services, *, has_token: bool
) -> GenerationAnswer:
    """What is told of a processed picture to who may see it. Raises `NotFound` for all others."""
    key = state.generation_key
    if not has_token and not await may_see(services.ledger, state.kind, key, caller):
        raise NotFound(_UNKNOWN)
    store = services.stores[PROCESSED.bucket]
    if state.entry is not None and await is_lost(state.entry, store=store, ledger=services.ledger):
        found = await services.ledger.generation_state(key)
        if found is None:
            raise NotFound(_UNKNOWN)
        state = found
    return GenerationAnswer.of(await told_with_address(request.scope, services, state), state.entry)


async def _told_to_owner(
    key: str, state: GenerationState | None, caller: Caller, request: Request, services: Services
) -> GenerationAnswer:
    """What those who asked for a picture are told of it. Raises `NotFound` for all others, and `TakenDown` for all."""
    if state is None and isinstance(await services.ledger.peek(key, original_key(key)), Gone):
        raise TakenDown
    if caller.user is None:
        raise NotFound(_UNKNOWN)
    try:
        status = await services.user_requests.status(caller.user.id, key)
    except NotFound:  # in the words that others are told: what differs would tell whether there is such a picture
        raise NotFound(_UNKNOWN) from None
    url_of = picture_addresses(request.scope, services)
    told: dict[str, Any] = {"key": key} if state is None else told_of(state, url_of)
    if isinstance(status, Delivered):
        return GenerationAnswer.completed(told, status, url_of)
    # Promised to be made again, whatever came of the last attempt.
    if isinstance(status, Failed) and (state is None or state.state.is_final):
        return GenerationAnswer.failed(told, status)
    is_pending = state is not None and state.state is State.PENDING
    under_way = State.PENDING if is_pending else State.GENERATING
    return GenerationAnswer.of({**told, "status": under_way.value, "url": None, "error": None}, None)
