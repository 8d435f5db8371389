"""From a picture that is asked for to its answer: found, made if it may be, counted, sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from copperplate.access.owners import asker_of
from copperplate.errors import (
    CopperplateError,
    GenerationFailed,
    NotCached,
    NotFound,
    NotGenerated,
    StillGenerating,
    Unavailable,
    UnsatisfiableRange,
)
from copperplate.generation.lookup import LOOK_ONLY, LookupOptions, LookupResult
from copperplate.http import cache_status, headers, ranges
from copperplate.http.answers import SEND_WHOLE, Answer
from copperplate.http.callers import caller_of
from copperplate.http.origin import base_url_of
from copperplate.http.preferences import read_preferences
from copperplate.http.problems import Problem, is_expected
from copperplate.http.promised_answers import find_or_promise, promise_headers, promise_told
from copperplate.http.request_log import is_logged, log_request
from copperplate.http.vercel import MAX_RESPONSE_BYTES
from copperplate.model import Outcome
from copperplate.recipes.objects import sha256_hex
from copperplate.recipes.url import plain_query
from copperplate.serving.kept_names import not_kept
from copperplate.unexpected import log_unexpected
from copperplate.work.promises import new_wish

if TYPE_CHECKING:
    from starlette.types import Scope, Send

    from copperplate.feed import Tier
    from copperplate.http.picture_urls import RequestedPicture
    from copperplate.http.preferences import Preferences
    from copperplate.model import Entry, PictureRequest
    from copperplate.services import Services

_NO_PICTURE: Final = "A placeholder is there once its picture is. Ask for the same address without placeholder."
_NOT_CACHED: Final = "This request wants what is stored and nothing else, and this picture is not. Nothing was made."
logger = logging.getLogger(__name__)


class Money(NamedTuple):
    """What a request cost at the provider, and what it did not, in millionths of a dollar; None where unknown."""

    cost: int | None = 0
    saved: int | None = 0


async def serve(services: Services, requested: RequestedPicture, scope: Scope, send: Send) -> None:
    """Answer one picture request. Count before sending, so statistics already include it."""
    picture_request, ignored = requested.picture_request, requested.ignored
    started = services.clock.monotonic()
    try:
        answer = await _answer(services, requested, scope)
    except asyncio.CancelledError:
        # The server stops and its grace period is over; the next caller resumes the generation.
        await send_answer(
            send, scope, error_answer(StillGenerating(), None), picture_request, services.clock.monotonic() - started
        )
        raise
    except Exception as error:  # noqa: BLE001 - nothing above would answer
        answer = error_answer(error, None if requested.is_placeholder else Outcome.FAILED)
    seconds = services.clock.monotonic() - started
    if answer.outcome is not None and scope["method"] == "GET":
        services.request_meter.count(
            picture_request, answer.outcome, size_bytes=len(answer.body), seconds=seconds, tier=answer.tier
        )
    if ignored:
        answer = answer.with_headers(ignored)
    money = _money_of(services, requested, answer.outcome) if is_logged() else Money()
    await send_answer(send, scope, answer, picture_request, seconds, money)


def _money_of(services: Services, requested: RequestedPicture, outcome: Outcome | None) -> Money:
    if requested.is_kept:  # what it was made from is not looked up
        return Money(saved=None if outcome is Outcome.HIT or outcome is Outcome.STALE else 0)
    request = requested.picture_request
    return Money(services.cost_of(request, outcome), services.savings_of(request, outcome))


async def _answer(services: Services, requested: RequestedPicture, scope: Scope) -> Answer:
    if requested.is_kept:
        try:
            return await _find_answer(services, requested, LOOK_ONLY, scope)
        except NotGenerated:
            return error_answer(not_kept(), None)
    try:
        caller = await caller_of(scope, services)
    except CopperplateError as error:  # not counted: it was refused whatever it asks for
        return error_answer(error, None)
    preferences = read_preferences(scope["headers"])
    is_cached_only = requested.is_cached_only or preferences.is_cached_only
    if is_cached_only and not requested.is_placeholder:
        return await _cached_answer(services, requested, scope)
    permit = services.gate.permit(caller, requested.picture_request, requested.signature)
    options = LookupOptions(permit=permit)
    if preferences.is_async and scope["method"] == "GET" and not requested.is_placeholder:
        owner = asker_of(caller, requested.signature)
        return await _early_answer(services, requested, options, owner, preferences, scope)
    return await _find_answer(services, requested, options, scope)


async def _cached_answer(services: Services, requested: RequestedPicture, scope: Scope) -> Answer:
    """What is stored; else an answer that is counted as nothing, since nobody went without a picture they wanted."""
    try:
        return await _find_answer(services, requested, LOOK_ONLY, scope)
    except (NotGenerated, GenerationFailed, StillGenerating):
        return error_answer(NotCached(_NOT_CACHED), None)


async def _early_answer(
    services: Services,
    requested: RequestedPicture,
    options: LookupOptions,
    owner: str,
    preferences: Preferences,
    scope: Scope,
) -> Answer:
    """The picture if it is stored, or made within the time preferred; else 202, and it is made."""
    # Imported here: a picture that is stored is answered without FastAPI.
    from copperplate.http.display import form_path

    request = requested.picture_request
    base = base_url_of(scope, services.settings)
    wish = new_wish(request, options, owner=owner, paths=(form_path(request, scope["query_string"]),))
    found = await find_or_promise(services, request, options, wish, within_seconds=preferences.within_seconds)
    if isinstance(found, LookupResult):
        return await _find_answer(services, requested, options, scope, found)
    told = await promise_told(services, request.kind, found.key, base=base)
    told["url"] = f"{base}{scope['path']}?{plain_query(scope['query_string'])}"
    body = json.dumps(told, separators=(",", ":")).encode()
    sent = {**promise_headers(found.key, preferences), "content-type": "application/json"}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return Answer(202, [*raw, (b"content-length", b"%d" % len(body))], body, None)


async def _find_answer(
    services: Services,
    requested: RequestedPicture,
    options: LookupOptions,
    scope: Scope,
    looked_up: LookupResult | None = None,
) -> Answer:
    """The answer with the picture, of `looked_up` where it was found a moment ago."""
    if requested.is_placeholder:
        return await _placeholder_answer(services, requested.picture_request, scope)
    picture_request = requested.picture_request
    held = headers.if_none_match(scope["headers"])
    is_head = scope["method"] == "HEAD"
    if is_head:
        options = LOOK_ONLY
    if looked_up is None and (held or is_head):
        looked_up = await services.renditions.find(picture_request, options)
    picture_format = picture_request.rendition.format
    if looked_up is not None:
        entry, outcome, tier = looked_up.entry, looked_up.outcome, looked_up.tier
        freshness = freshness_of(services, looked_up)
        if headers.is_held(held, headers.etag_of(entry), outcome):
            return Answer(304, headers.validators(looked_up, freshness), b"", outcome, tier)
        if is_head:
            return Answer(200, headers.of_picture(looked_up, freshness, picture_format), b"", None)
    # Vercel rejects larger responses.
    at_most_bytes = MAX_RESPONSE_BYTES if services.settings.on_vercel else None
    found = await services.renditions.read(picture_request, options, at_most_bytes=at_most_bytes, found=looked_up)
    if found.body is None:
        url = services.kinds[picture_request.kind].store.public_url(found.entry.path)
        assert url is not None  # noqa: S101 - else the bytes were read
        sent = headers.elsewhere(found, freshness_of(services, found), url)
        return Answer(302, sent, b"", found.outcome, found.tier)
    return _whole_or_part(_whole_answer(services, found, found.body, picture_request), found.entry, scope)


def _whole_answer(services: Services, found: LookupResult, body: bytes, request: PictureRequest) -> Answer:
    """The answer with the whole picture: one for all who share what was found, unless its `ttl` runs down."""
    runs_down = services.tiers.seconds_left(found) is not None
    if found.answers and not runs_down:
        shared: Answer = found.answers[0]
        return shared
    sent = headers.of_picture(found, freshness_of(services, found), request.rendition.format)
    answer = Answer(200, sent, body, found.outcome, found.tier)
    if not runs_down:
        found.answers.append(answer)
    return answer


def _whole_or_part(answer: Answer, entry: Entry, scope: Scope) -> Answer:
    """The picture, or the part of it that a GET asks for. One that is not there is nobody's hit."""
    size_bytes = len(answer.body)
    try:
        part = ranges.part_of(scope["headers"], size_bytes, headers.etag_of(entry))
    except UnsatisfiableRange as error:
        is_made = answer.outcome is Outcome.GENERATED
        return error_answer(error, answer.outcome if is_made else None, answer.tier)
    if part is None or scope["method"] == "HEAD":
        return answer
    sent = headers.of_part(answer.headers, part, size_bytes)
    return Answer(206, sent, answer.body[part.start : part.stop], answer.outcome, answer.tier)


def freshness_of(services: Services, found: LookupResult) -> headers.Freshness:
    """How long this may be kept, by whom. What has no end lasts as long as a browser may keep it."""
    left = services.tiers.seconds_left(found)
    settings = services.settings
    return headers.Freshness(
        ttl_seconds=headers.PICTURE_SECONDS if left is None else math.floor(left),
        cdn_seconds=math.ceil(settings.cdn.total_seconds()),
        cdn_stale_seconds=math.ceil(settings.cdn_stale.total_seconds()),
    )


async def _placeholder_answer(services: Services, picture_request: PictureRequest, scope: Scope) -> Answer:
    """The tiny picture that stands in a picture's place. It is no hit of the picture, and is not counted."""
    try:
        entry = (await services.coordinator.find(picture_request, LOOK_ONLY)).entry
    except NotGenerated:
        raise NotGenerated(_NO_PICTURE) from None
    if entry.placeholder is None:
        raise NotFound("The placeholder of this picture is not known yet: the daily cleanup makes some of them.")
    model = picture_request.model if entry.is_ai_made else None
    body = await services.placeholders.draw(entry.placeholder, picture_request, model=model)
    drawn = replace(entry, digest=sha256_hex(body), size_bytes=len(body))
    shown = LookupResult(entry=drawn, outcome=Outcome.HIT, body=body)
    freshness = freshness_of(services, shown)
    if headers.is_held(headers.if_none_match(scope["headers"]), headers.etag_of(drawn), Outcome.HIT):
        return Answer(304, headers.validators(shown, freshness), b"", None)
    sent = headers.of_picture(shown, freshness, picture_request.rendition.format)
    return _whole_or_part(Answer(200, sent, body, None), drawn, scope)


def error_answer(error: Exception, outcome: Outcome | None, tier: Tier | None = None) -> Answer:
    """The problem that an error is, logged where it is unexpected."""
    if not is_expected(error):
        log_unexpected(error, "a picture request")
    elif isinstance(error, Unavailable):
        logger.warning("%s: %s", error.code, error)
    problem = Problem.of(error)
    raw = [*problem.raw_headers(), *cache_status.of_error(error)]
    return Answer(problem.status, raw, problem.body, outcome, tier)


async def send_answer(
    send: Send,
    scope: Scope,
    answer: Answer,
    picture_request: PictureRequest | None,
    seconds: float,
    money: Money = Money(),  # noqa: B008 - never changed
) -> None:
    """Send it, of a HEAD without its body, and log it."""
    if is_logged():
        log_request(
            scope["method"],
            answer.status,
            outcome=answer.outcome,
            tier=answer.tier,
            key=picture_request.rendition_key if picture_request else None,
            seconds=seconds,
            size_bytes=len(answer.body),
            cost_micro_usd=money.cost,
            saved_micro_usd=money.saved,
        )
    body = b"" if scope["method"] == "HEAD" else answer.body
    send_whole = getattr(send, SEND_WHOLE, None)
    if send_whole is not None and send_whole(answer, body):
        return
    # Middleware around the application may write to the list that it is sent, and some answers share one.
    sent = [*answer.headers]
    # Some servers raise this when the caller has disconnected; the picture is stored all the same.
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": body})
