"""Memoji and credits, for signed-in people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.access.caller import Caller
from copperplate.accounts.user_requests import Delivered
from copperplate.http.addresses import addresses_of
from copperplate.http.api import preflight
from copperplate.http.bodies import read_json_object
from copperplate.http.callers import caller_address
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.display import DisplayQuery, display_path
from copperplate.http.idempotency import read_idempotency_key
from copperplate.http.openapi import SESSION
from copperplate.http.origin import base_url_of
from copperplate.http.parameters import HEADER, ignored_header, refuse_unknown
from copperplate.http.preferences import read_preferences
from copperplate.http.promised_answers import promise_headers, promise_told
from copperplate.http.request_log import log_request
from copperplate.http.schemas import memoji as schemas
from copperplate.http.spending_problems import REFUSALS
from copperplate.http.users import SignedIn  # noqa: TC001 - FastAPI reads it
from copperplate.recipes.kinds import MEMOJI
from copperplate.recipes.memoji import memoji_request

if TYPE_CHECKING:
    from uuid import UUID

    from copperplate.generation.lookup import Permit
    from copperplate.http.preferences import Preferences
    from copperplate.model import PictureRequest
    from copperplate.services import Services
    from copperplate.work.promises import Promised

FOR_USERS: Final[dict[str, Any]] = {"security": [{SESSION: []}]}
PREFLIGHT: Final = preflight("GET, POST", "content-type", "idempotency-key", "prefer")

router = APIRouter(dependencies=[Depends(no_store)])


@router.post(
    "/api/generate-memoji",
    responses={202: {"model": schemas.PendingAnswer, "description": "It is being made"}, **REFUSALS, **PROBLEMS},
    openapi_extra={
        **FOR_USERS,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/MemojiConfiguration"}}},
        },
    },
    tags=["memoji"],
)
async def generate_memoji(
    user: SignedIn, request: Request, response: Response, services: ServicesDep, display: DisplayQuery
) -> schemas.MemojiAnswer | schemas.PendingAnswer:
    """The address of a memoji: at once and free where it was made before, else made for one credit.

    Display parameters, as in a picture's URL, ask for the address of the same picture in another form.

    With `Idempotency-Key` the same request has the same answer for a day. With `Prefer: respond-async` the answer is
    202 as soon as the picture is certain to be made, and `GET /api/generations/{key}` tells the rest.
    """
    refuse_unknown(request.scope)
    idempotency_key, preferences = read_idempotency_key(request), read_preferences(request.scope["headers"])
    picture_request = memoji_request(await read_json_object(request), provider=services.provider_of(MEMOJI.name))
    started = services.clock.monotonic()
    url_of = addresses_of(request.scope, services)
    base = base_url_of(request.scope, services.settings) if preferences.is_async else ""
    display_url = _display_url(display, picture_request, request, response, services)
    # A key beside the sign-in was refused before; the token was verified.
    caller = Caller(address=caller_address(request.scope, services), user=user)
    permit = services.gate.permit_with_credits(caller, picture_request)
    result = await _find(user.id, picture_request, permit, idempotency_key, preferences, services)
    _log(services, picture_request, result, services.clock.monotonic() - started)
    if isinstance(result, Delivered):
        if preferences.is_async:
            response.headers["preference-applied"] = preferences.applied
        return schemas.MemojiAnswer.of(result, url_of, display_url=display_url)
    response.status_code = 202
    response.headers.update(promise_headers(result.key, preferences))
    told = await promise_told(services, picture_request.kind, result.key, base=base)
    return schemas.PendingAnswer(
        success=True, status=told["status"], key=result.key, events=told["events"], display_url=display_url
    )


@router.get("/api/credits", responses=PROBLEMS, tags=["memoji"], openapi_extra=FOR_USERS)
async def read_credits(user: SignedIn, services: ServicesDep) -> schemas.CreditsAnswer:
    """The credits of whoever is signed in: `held` are reserved by pictures under way."""
    found = await services.ledger.credits(user.id)
    return schemas.CreditsAnswer(
        success=True,
        credits=schemas.CreditsOut(balance=found.balance, held=found.held, available=found.available),
    )


@router.options("/api/generate-memoji", include_in_schema=False)
@router.options("/api/credits", include_in_schema=False)
async def answer_preflight() -> Response:
    """Any origin may ask: the token is no cookie, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


async def _find(
    user: UUID,
    picture_request: PictureRequest,
    permit: Permit,
    idempotency_key: str | None,
    preferences: Preferences,
    services: Services,
) -> Delivered | Promised:
    if not preferences.is_async:
        return await services.user_requests.request(user, picture_request, permit, idempotency_key=idempotency_key)
    return await services.user_requests.start(
        user,
        picture_request,
        permit,
        idempotency_key=idempotency_key,
        within_seconds=preferences.within_seconds,
    )


def _display_url(
    display: dict[str, str],
    picture_request: PictureRequest,
    request: Request,
    response: Response,
    services: Services,
) -> str | None:
    """Where the picture is shown in the form asked for; parameters without effect are named in the answer's headers.

    Raises `InvalidHost` as well, before anything is spent.
    """
    if (shown := display_path(display, picture_request)) is None:
        return None
    for _, names in ignored_header(shown.ignored):
        response.headers[HEADER.decode()] = names.decode()
    return base_url_of(request.scope, services.settings) + shown.path


def _log(services: Services, picture_request: PictureRequest, result: Delivered | Promised, seconds: float) -> None:
    outcome = result.outcome if isinstance(result, Delivered) else None
    log_request(
        "POST",
        200 if outcome else 202,
        outcome=outcome,
        key=picture_request.generation_key,
        seconds=seconds,
        size_bytes=0,
        cost_micro_usd=services.cost_of(picture_request, outcome),
        saved_micro_usd=services.savings_of(picture_request, outcome),
    )
