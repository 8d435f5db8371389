"""Pictures at hand, at addresses that were read before: nothing is parsed, awaited or looked up elsewhere (ADR 0072).

At hand is what is in memory, and small files on disk that were read a moment ago.

Every answer from here is the one that `pictures` would give. A request that is judged by more than its address and the
entity tags its caller holds is left to it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from copperplate.feed import Tier
from copperplate.generation.lookup import LookupResult
from copperplate.http import headers
from copperplate.http.answers import Answer
from copperplate.http.picture_answers import freshness_of
from copperplate.http.request_log import log_request, requests_log
from copperplate.http.vercel import MAX_RESPONSE_BYTES
from copperplate.model import Outcome

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.http.wiring import Wiring
    from copperplate.model import PictureFormat, PictureRequest
    from copperplate.services import Services

_METHODS: Final = frozenset({"GET", "HEAD"})
_HOST: Final = b"host"
_HELD: Final = b"if-none-match"
# Headers that decide what is answered, or whether anything is: all but the first two are for `pictures`.
_DECIDING: Final = frozenset({_HOST, _HELD, b"authorization", b"x-api-key", b"prefer", b"range"})


class Answers:
    """What one copy is answered with, `until` a time by the monotonic clock, when its `ttl` is another."""

    __slots__ = ("bare", "etag", "outcome", "unchanged", "until", "whole")

    def __init__(self, found: LookupResult, freshness: headers.Freshness, media: PictureFormat, until: float) -> None:
        raw, outcome = headers.of_picture(found, freshness, media), found.outcome
        self.outcome = outcome
        self.until = until
        self.etag = headers.etag_of(found.entry)
        self.whole = Answer(200, raw, found.body or b"", outcome, found.tier)
        self.bare = Answer(200, raw, b"", None, found.tier)
        self.unchanged = Answer(304, headers.validators(found, freshness), b"", outcome, found.tier)


class HotPictures:
    """ASGI: answers hits in memory, fresh or stale, and quick ones on disk, and hands everything else to `app`.

    On Vercel all goes to `invocation`, if there is one, which keeps the call open until its usage is written.
    """

    def __init__(self, app: ASGIApp, wiring: Wiring, invocation: ASGIApp | None = None) -> None:
        self._app = app
        self._wiring = wiring
        self._invocation = invocation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a picture that is at hand, counted and logged as any other; else pass the request on."""
        if (answer := self.find_answer(scope)) is None:
            await self.pass_on(scope, receive, send)
            return
        # Both messages are new each time: middleware around the application may write to what it is sent.
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers]})
            await send({"type": "http.response.body", "body": answer.body})
        except OSError:  # some servers raise it when the caller has disconnected
            return

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let others answer a request for which nothing was found."""
        services, app = self._wiring.services, self._app
        if self._invocation is not None and services is not None and scope["type"] == "http":
            app = self._invocation if services.settings.on_vercel else app
        await app(scope, receive, send)

    def find_answer(self, scope: Scope) -> Answer | None:
        """What a request for a picture at hand is answered with, counted and logged; None where all else is asked.

        A server that calls this itself needs no task for such a request, and may send `head` and `body` as they are;
        where nothing is found, it goes on with `pass_on`.
        """
        wiring = self._wiring
        services, urls = wiring.services, wiring.picture_urls
        if services is None or urls is None or scope["type"] != "http":
            return None
        if self._invocation is not None and services.settings.on_vercel:
            return None
        requested = urls.plain.get((scope["path"], scope["query_string"]))
        if requested is None or (held := _held(scope)) is None:
            return None
        monotonic, request, method = services.clock.monotonic, requested.picture_request, scope["method"]
        started = monotonic()
        if (answers := _find_answers(services, request, started)) is not None:
            if held and headers.is_held(held, answers.etag, answers.outcome):
                answer = answers.unchanged
            else:
                answer = answers.whole if method == "GET" else answers.bare
        elif method == "GET" and not held and (found := _find_on_disk(services, request, started)) is not None:
            answers, body = found
            answer = answers.whole.with_body(body)
        else:
            return None
        seconds = monotonic() - started
        if method == "GET":
            services.request_meter.count(
                request, answers.outcome, size_bytes=len(answer.body), seconds=seconds, tier=answer.tier
            )
        if requests_log.isEnabledFor(logging.INFO):
            _log(services, request, answer, method, seconds)
        if requested.ignored:
            return answer.with_headers(requested.ignored)
        return answer


def _held(scope: Scope) -> bytes | None:
    """The entity tags that the caller holds; None where more than these decide: see `_DECIDING`."""
    if scope["method"] not in _METHODS:
        return None
    hosts, has_tags = 0, False
    for name, _ in scope["headers"]:
        if name in _DECIDING:
            if name == _HOST:
                hosts += 1
            elif name == _HELD:
                has_tags = True
            else:
                return None
    if hosts != 1:
        return None
    return headers.if_none_match(scope["headers"]) if has_tags else b""


def _find_answers(services: Services, request: PictureRequest, now: float) -> Answers | None:
    """The answers with the copy in memory; None where there is none that may be sent as it is."""
    tiers, key, outcome = services.tiers, request.rendition_key, Outcome.HIT
    if (item := tiers.find_hot(key, now)) is None:
        outcome = Outcome.STALE
        if (item := tiers.find_hot_stale(key, now)) is None:
            return None
    answers: Answers | None = item.answers
    if answers is not None and now < answers.until and answers.outcome is outcome:
        return answers
    entry, body = item.copy.entry, item.copy.body
    if body is None or (services.settings.on_vercel and entry.size_bytes > MAX_RESPONSE_BYTES):
        return None
    found = LookupResult(entry=entry, outcome=outcome, body=body, tier=Tier.MEMORY)
    left = tiers.seconds_left(found) or 0.0
    answers = Answers(found, freshness_of(services, found), request.rendition.format, now + left - math.floor(left))
    item.answers = answers
    return answers


def _find_on_disk(services: Services, request: PictureRequest, now: float) -> tuple[Answers, bytes] | None:
    """The answers with the copy on disk and its bytes; None where there is none that may be sent as it is, and at once.

    A HEAD, and a caller who holds a picture, need no bytes: they are for `pictures`.
    """
    if services.settings.on_vercel:
        return None
    found = services.tiers.find_hot_on_disk(request, now, services.renditions.is_current)
    if found is None:
        return None
    shown, body = found
    answers: Answers | None = shown.answers
    if answers is None:
        # Its `ttl` is always the same.
        hit = LookupResult(entry=shown.copy.entry, outcome=Outcome.HIT, tier=Tier.DISK)
        answers = Answers(hit, freshness_of(services, hit), request.rendition.format, math.inf)
        shown.answers = answers
    return answers, body


def _log(services: Services, request: PictureRequest, answer: Answer, method: str, seconds: float) -> None:
    log_request(
        method,
        answer.status,
        outcome=answer.outcome,
        tier=answer.tier,
        key=request.rendition_key,
        seconds=seconds,
        size_bytes=len(answer.body),
        cost_micro_usd=0,
        saved_micro_usd=services.savings_of(request, answer.outcome),
    )
