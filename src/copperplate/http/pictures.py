"""Pictures by URL, answered before routing: a hit costs little more than sending its bytes (ADR 0004)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from copperplate.errors import (
    CopperplateError,
    InvalidHost,
    InvalidRequest,
    MethodNotAllowed,
    StillGenerating,
    Unavailable,
)
from copperplate.generation.lookup import LOOK_ONLY, LookupOptions
from copperplate.http import headers, negotiation
from copperplate.http.callers import caller_of
from copperplate.http.origin import has_one_host
from copperplate.http.picture_urls import is_picture_path
from copperplate.http.problems import Problem, is_expected
from copperplate.http.request_log import log_request, requests_log
from copperplate.http.vercel import MAX_RESPONSE_BYTES
from copperplate.model import Outcome
from copperplate.recipes.url import AUTO
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.access.caller import Caller
    from copperplate.generation.lookup import LookupResult
    from copperplate.http.headers import RawHeaders
    from copperplate.http.picture_urls import RequestedPicture
    from copperplate.http.wiring import Wiring
    from copperplate.model import PictureRequest
    from copperplate.services import Services

METHODS = "GET, HEAD, OPTIONS"
logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """One response, and the outcome it is counted as (None: not counted)."""

    status: int
    headers: RawHeaders
    body: bytes
    outcome: Outcome | None


class Pictures:
    """ASGI: answers picture URLs and hands everything else to `app`."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a picture URL; else pass the request on."""
        services, picture_urls = self._wiring.services, self._wiring.picture_urls
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path.endswith(AUTO):
            path, send = negotiation.negotiated_path(path, scope["headers"]), negotiation.not_shared(send)
        if not has_one_host(scope):
            await _send(send, scope, _error_answer(InvalidHost("Send one Host header."), None), None, 0.0)
            return
        if services is None or picture_urls is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await self._refuse_method(path, scope, receive, send)
            return
        try:
            requested = picture_urls.read(path, scope["query_string"])
        except InvalidRequest as error:
            await _send(send, scope, _error_answer(error, None), None, 0.0)
            return
        if requested is None:
            await self._app(scope, receive, send)
        else:
            await _serve(services, requested, scope, send)

    async def _refuse_method(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS, also for a wrong URL, whose GET then reports the error; refuse other methods."""
        if not is_picture_path(path):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _send(send, scope, Answer(204, headers.PREFLIGHT, b"", None), None, 0.0)
        else:
            await _send(send, scope, _error_answer(MethodNotAllowed(METHODS), None), None, 0.0)


async def _serve(services: Services, requested: RequestedPicture, scope: Scope, send: Send) -> None:
    """Answer one picture request. Count before sending, so statistics already include it."""
    picture_request, ignored = requested.picture_request, requested.ignored
    started = services.clock.monotonic()
    try:
        answer = await _answer(services, requested, scope)
    except asyncio.CancelledError:
        # The server stops and its grace period is over; the next caller resumes the generation.
        await _send(
            send, scope, _error_answer(StillGenerating(), None), picture_request, services.clock.monotonic() - started
        )
        raise
    except Exception as error:  # noqa: BLE001 - nothing above would answer
        answer = _error_answer(error, Outcome.FAILED)
    seconds = services.clock.monotonic() - started
    if answer.outcome is not None and scope["method"] == "GET":
        services.request_meter.count(picture_request, answer.outcome, size_bytes=len(answer.body), seconds=seconds)
    if ignored:
        answer = answer._replace(headers=[*answer.headers, *ignored])
    await _send(send, scope, answer, picture_request, seconds, _cost(services, picture_request, answer.outcome))


def _cost(services: Services, picture_request: PictureRequest, outcome: Outcome | None) -> int | None:
    """What this request cost at the provider, in millionths of a dollar; None where the price is not known."""
    if outcome is not Outcome.GENERATED:
        return 0
    return services.provider_of(picture_request.kind).price_micro_usd(picture_request.recipe)


async def _answer(services: Services, requested: RequestedPicture, scope: Scope) -> Answer:
    try:
        caller = await caller_of(scope, services)
    except CopperplateError as error:  # not counted: it was refused whatever it asks for
        return _error_answer(error, None)
    return await _find_answer(services, requested, caller, scope)


async def _find_answer(services: Services, requested: RequestedPicture, caller: Caller, scope: Scope) -> Answer:
    picture_request = requested.picture_request
    held = headers.if_none_match(scope["headers"])
    is_head = scope["method"] == "HEAD"
    looked_up: LookupResult | None = None
    permit = services.gate.permit(caller, picture_request, requested.signature)
    options = LOOK_ONLY if is_head else LookupOptions(permit=permit)
    if held or is_head:
        looked_up = await services.renditions.find(picture_request, options)
        entry, outcome = looked_up.entry, looked_up.outcome
        if headers.is_held(held, entry, outcome):
            return Answer(304, headers.validators(entry, outcome), b"", outcome)
        if is_head:
            return Answer(200, headers.of_picture(entry, outcome, picture_request.rendition.format), b"", None)
    # Vercel rejects larger responses.
    at_most_bytes = MAX_RESPONSE_BYTES if services.settings.on_vercel else None
    found = await services.renditions.read(picture_request, options, at_most_bytes=at_most_bytes, found=looked_up)
    entry, outcome = found.entry, found.outcome
    if found.body is None:
        url = services.kinds[picture_request.kind].store.public_url(entry.path)
        assert url is not None  # noqa: S101 - else the bytes were read
        return Answer(302, headers.elsewhere(entry, outcome, url), b"", outcome)
    return Answer(200, headers.of_picture(entry, outcome, picture_request.rendition.format), found.body, outcome)


def _error_answer(error: Exception, outcome: Outcome | None) -> Answer:
    if not is_expected(error):
        log_unexpected(error, "a picture request")
    elif isinstance(error, Unavailable):
        logger.warning("%s: %s", error.code, error)
    problem = Problem.of(error)
    return Answer(problem.status, problem.raw_headers(), problem.body, outcome)


async def _send(
    send: Send,
    scope: Scope,
    answer: Answer,
    picture_request: PictureRequest | None,
    seconds: float,
    cost: int | None = 0,
) -> None:
    if requests_log.isEnabledFor(logging.INFO):
        log_request(
            scope["method"],
            answer.status,
            outcome=answer.outcome,
            key=picture_request.rendition_key if picture_request else None,
            seconds=seconds,
            size_bytes=len(answer.body),
            cost_micro_usd=cost,
        )
    body = b"" if scope["method"] == "HEAD" else answer.body
    # Some servers raise this when the caller has disconnected; the picture is stored all the same.
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": body})
