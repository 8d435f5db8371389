"""`POST /api/generate`: a picture by a JSON body, of any kind, waited for or promised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.access.owners import asker_of, owner_of
from copperplate.accounts.user_requests import Delivered
from copperplate.denials import MemojiNeedsSignIn
from copperplate.errors import Unauthorized
from copperplate.generation.lookup import LookupOptions, LookupResult
from copperplate.http.api import preflight
from copperplate.http.batches import MAX_BODY_BYTES
from copperplate.http.bodies import MAX_BYTES, read_json_object
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.idempotency import read_idempotency_key, remembered
from copperplate.http.items import read_item
from copperplate.http.openapi import FOR_ANYBODY
from copperplate.http.origin import base_url_of
from copperplate.http.parameters import ignored_header, refuse_unknown
from copperplate.http.preferences import read_preferences
from copperplate.http.promised_answers import find_or_promise, promise_headers, promise_told
from copperplate.http.request_log import log_request
from copperplate.http.routes.batches import answer_batch
from copperplate.http.schemas import generate as schemas
from copperplate.http.schemas.batches import BatchAnswer
from copperplate.http.spending_problems import REFUSALS
from copperplate.http.users import HOW
from copperplate.model import Outcome
from copperplate.recipes.kinds import MEMOJI
from copperplate.wishes import Priority
from copperplate.work.promises import new_wish
from copperplate.work.settled import settle
from copperplate.work.settling import MADE

if TYPE_CHECKING:
    from copperplate.access.caller import Caller
    from copperplate.http.items import Item
    from copperplate.http.preferences import Preferences
    from copperplate.model import Entry
    from copperplate.services import Services
    from copperplate.wishes import NewWish

BODY: Final = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    {"$ref": f"#/components/schemas/{name}"} for name in ("ImageItem", "MemojiItem", "BatchOfItems")
                ]
            }
        }
    },
}
PREFLIGHT: Final = preflight("POST", "content-type", "idempotency-key", "prefer", "x-api-key")

router = APIRouter(dependencies=[Depends(no_store)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A picture that is there: the form asked for or its original, and how this request came by it."""

    entry: Entry
    outcome: Outcome
    cached: bool
    credits: int | None = None


@router.post(
    "/api/generate",
    responses={
        202: {"model": schemas.PromisedAnswer | BatchAnswer, "description": "It is being made"},
        **REFUSALS,
        **PROBLEMS,
    },
    openapi_extra={**FOR_ANYBODY, "requestBody": BODY},
    tags=["generate"],
)
async def generate(
    request: Request, response: Response, services: ServicesDep
) -> schemas.GeneratedAnswer | schemas.PromisedAnswer | BatchAnswer:
    """A picture, made unless it is stored: an image by its text, a memoji (for signed-in people) by its configuration.

    The answer waits for the picture as a picture's address does. Where that takes longer, where `Prefer: wait=N` wants
    it within N seconds, and with `Prefer: respond-async`, it is 202: the picture is made although nobody waits, and
    `GET /api/generations/{key}` and `events` tell the rest.

    With `items` it is a batch of many, for API keys and for people signed in with a name: `GET /api/batches/{id}`.
    """
    refuse_unknown(request.scope)
    caller = await caller_of(request.scope, services)
    idempotency_key, preferences = read_idempotency_key(request), read_preferences(request.scope["headers"])
    base = base_url_of(request.scope, services.settings)
    # What a stranger sends is one item at most.
    body = await read_json_object(request, max_bytes=MAX_BYTES if owner_of(caller) is None else MAX_BODY_BYTES)
    if body.get("items") is not None:
        return await answer_batch(body, caller, response, services, idempotency_key=idempotency_key, base=base)
    item = read_item(body, services)
    for name, value in ignored_header(item.ignored):
        response.headers[name.decode()] = value.decode()
    asked = _AskedItem(services, caller, item, preferences)
    made = await asked.answer(idempotency_key)
    if made is None:
        response.status_code = 202
        response.headers.update(promise_headers(item.picture_request.generation_key, preferences))
        told = await promise_told(services, item.picture_request.kind, item.picture_request.generation_key, base=base)
        return schemas.PromisedAnswer(**{**told, **item.echo, "url": base + item.paths[0]})
    if preferences.applied:
        response.headers["preference-applied"] = preferences.applied
    return schemas.GeneratedAnswer.of(
        item,
        made.entry,
        url=base + item.paths[0],
        cached=made.cached,
        cost=services.cost_of(item.picture_request, made.outcome),
        credits_left=made.credits,
    )


@router.options("/api/generate", include_in_schema=False)
async def answer_preflight() -> Response:
    """Any origin may ask: neither key nor token is a cookie, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


class _AskedItem:
    """One item that a caller asks for."""

    def __init__(self, services: Services, caller: Caller, item: Item, preferences: Preferences) -> None:
        self._services = services
        self._caller = caller
        self._item = item
        self._request = item.picture_request
        self._within_seconds = preferences.within_seconds
        self._started = services.clock.monotonic()

    async def answer(self, idempotency_key: str | None) -> Made | None:
        """The picture; None where it is promised."""
        is_memoji = self._request.kind == MEMOJI.name
        made = await (self._memoji(idempotency_key) if is_memoji else self._image(idempotency_key))
        outcome = None if made is None else made.outcome
        log_request(
            "POST",
            202 if made is None else 200,
            outcome=outcome,
            key=self._request.rendition_key,
            seconds=self._seconds(),
            size_bytes=0,
            cost_micro_usd=self._services.cost_of(self._request, outcome),
            saved_micro_usd=self._services.savings_of(self._request, outcome),
        )
        return made

    async def _memoji(self, idempotency_key: str | None) -> Made | None:
        if self._caller.is_unknown:
            raise Unauthorized(HOW)
        if (user := self._caller.user) is None:
            raise MemojiNeedsSignIn
        found = await self._services.user_requests.start(
            user.id,
            self._request,
            self._services.gate.permit_with_credits(self._caller, self._request),
            idempotency_key=idempotency_key,
            within_seconds=self._within_seconds,
        )
        if not isinstance(found, Delivered):
            return None
        return Made(entry=found.entry, outcome=found.outcome, cached=found.cached, credits=found.credits)

    async def _image(self, idempotency_key: str | None) -> Made | None:
        permit = self._services.gate.permit(self._caller, self._request)
        options = LookupOptions(permit=permit)
        wish = new_wish(
            self._request,
            options,
            owner=asker_of(self._caller),
            priority=self._item.priority or Priority.USUAL,
            paths=self._item.paths,
            echo=self._item.echo,
        )
        # Strangers have no name that a key of theirs could be kept under.
        if idempotency_key is None or owner_of(self._caller) is None or permit.denial is not None:
            return await self._find(options, wish)
        ledger, held_for = self._services.ledger, self._services.promises.lease
        async with remembered(wish, idempotency_key, ledger, held_for=held_for) as known:
            made = await self._find(options, wish, kept=known.wish)
            if made is not None and known.wish is not None:
                await settle(ledger, known.wish, MADE)
            return None if made is None else replace(made, cached=known.was_stored)

    async def _find(self, options: LookupOptions, wish: NewWish, *, kept: int | None = None) -> Made | None:
        outcome: Outcome | None = Outcome.FAILED
        tier = None
        try:
            found = await find_or_promise(
                self._services, self._request, options, wish, kept=kept, within_seconds=self._within_seconds
            )
            outcome, tier = (found.outcome, found.tier) if isinstance(found, LookupResult) else (None, None)
        finally:
            if outcome is not None:
                self._services.request_meter.count(
                    self._request, outcome, size_bytes=0, seconds=self._seconds(), tier=tier
                )
        if not isinstance(found, LookupResult):
            return None
        return Made(entry=found.entry, outcome=found.outcome, cached=found.outcome is Outcome.HIT)

    def _seconds(self) -> float:
        return self._services.clock.monotonic() - self._started
