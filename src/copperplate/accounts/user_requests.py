"""Pictures for signed-in people: the cache first, credits second, and one answer under one Idempotency-Key."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from copperplate.accounts.webp_beside import find_webp
from copperplate.budgets import Charge
from copperplate.denials import TakenDown
from copperplate.errors import (
    IdempotencyConflict,
    LedgerMisconfigured,
    LedgerUnavailable,
    NotFound,
    PictureGone,
    StillGenerating,
    StoreMisconfigured,
    StoreUnavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions, LookupResult
from copperplate.generation.losses import FINDS, STORE_LOSES, find_kept_object, is_lost
from copperplate.ledger_answers import Gone, Hit, Miss, Negative, Wait
from copperplate.model import Outcome
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import original_key
from copperplate.work.promises import Promised, new_wish

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from uuid import UUID

    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import Permit
    from copperplate.ledger_answers import PeekResult
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Clock, CreditLedger, Ledger, ObjectStore
    from copperplate.serving.request_meter import RequestMeter
    from copperplate.work.promises import Promises


Found = TypeVar("Found", bound="LookupResult | Promised")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A stored picture, the `webp` that is kept beside it, and the `credits` its caller has left.

    Under an Idempotency-Key, `cached` and `credits` repeat the first answer. `outcome` is of this request; a repeated
    answer is a hit.
    """

    entry: Entry
    outcome: Outcome
    cached: bool
    credits: int
    webp: Entry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The last attempt failed; a new request after `retry_after` makes another."""

    key: str
    failure_class: FailureClass
    retry_after: timedelta


class UserRequests:
    """Finds or generates pictures for users; a generation is charged to the account of one of them."""

    def __init__(  # noqa: PLR0913 - each part once
        self,
        *,
        coordinator: Coordinator,
        promises: Promises,
        ledger: Ledger,
        stores: Mapping[str, ObjectStore],
        accounts: CreditLedger,
        request_meter: RequestMeter,
        clock: Clock,
    ) -> None:
        self._coordinator = coordinator
        self._promises = promises
        self._ledger = ledger
        self._stores = stores
        self._accounts = accounts
        self._meter = request_meter
        self._clock = clock

    async def request(
        self, user: UUID, request: PictureRequest, permit: Permit, *, idempotency_key: str | None
    ) -> Delivered:
        """The picture, once it is stored. A hit costs nothing; a miss costs its leader a credit.

        Without a key it is remembered only where its caller goes without the picture: a hit costs no call for it.
        Raises what `Coordinator.find` raises, `IdempotencyConflict` and `PictureGone`.
        """
        if idempotency_key is not None:
            known = await self._recall(user, request, idempotency_key)
            if known is not None:
                return known
        options = LookupOptions(permit=permit, charge=Charge(user=user))
        try:
            found = await self._counted(request, self._find_stored(request, options))
        except (StillGenerating, StoreUnavailable, StoreMisconfigured):  # it may be made all the same
            if idempotency_key is None:
                with contextlib.suppress(LedgerUnavailable, LedgerMisconfigured):  # else `status` would not know it
                    await self._accounts.begin_request(user, request.generation_key, None)
            raise
        return await self._deliver(user, found, idempotency_key)

    async def start(
        self,
        user: UUID,
        request: PictureRequest,
        permit: Permit,
        *,
        idempotency_key: str | None,
        within_seconds: float | None = 0.0,
    ) -> Delivered | Promised:
        """Like `request`, but answers `Promised` as soon as a lease is held, and with it the credit.

        It waits `within_seconds` for the picture before; None: as long as any.
        `NotEnoughCredits` is raised here and never later. What is pending is made although this process dies.
        """
        if (known := await self._recall(user, request, idempotency_key)) is not None:
            return known
        options = LookupOptions(permit=permit, charge=Charge(user=user))
        wish = new_wish(request, options, owner=f"user:{user}")
        # With the lease that a promise waits for, what it costs is reserved.
        starting = self._promises.start(
            request, options, wish, find=partial(self._find_stored, request), within_seconds=within_seconds
        )
        found = await self._counted(request, starting)
        if isinstance(found, Promised):
            return found
        return await self._deliver(user, found, idempotency_key)

    async def status(self, user: UUID, key: str) -> Delivered | Promised | Failed:
        """The state of a generation this user requested; `Failed` where the object of its picture is gone.

        Raises `NotFound` for another user's, whether there is one or not.
        """
        if not await self._accounts.is_requested_by(user, key):
            raise NotFound("You have not asked for such a picture, or it was long ago.")
        match await self._peek(key, original_key(key)):
            case Hit(entry=entry):
                return await self._deliver(user, LookupResult(entry=entry, outcome=Outcome.HIT), None)
            case Wait():
                return Promised(key=key)
            case Gone():
                raise TakenDown
            case Negative(failure_class=failure_class, retry_after=retry_after):
                return Failed(key=key, failure_class=failure_class, retry_after=retry_after)
            case Miss():
                return Failed(key=key, failure_class=FailureClass.ABANDONED, retry_after=timedelta(0))

    async def _recall(self, user: UUID, request: PictureRequest, idempotency_key: str | None) -> Delivered | None:
        """Record the request; the earlier answer if this key has one, with the picture that is stored now.

        Raises `PictureGone` where that picture was removed: a repeated key must not pay once more.
        """
        known = await self._accounts.begin_request(user, request.generation_key, idempotency_key)
        if known.is_conflict:
            raise IdempotencyConflict("Send a new Idempotency-Key with another request.")
        if known.answer is None:
            return None
        match await self._peek(request.generation_key, request.rendition_key):
            case Hit(entry=entry):
                self._meter.count(request, Outcome.HIT, size_bytes=0, seconds=0.0)
                return _delivered(entry, Outcome.HIT, known.answer, webp=await self._webp(entry))
            case Wait():
                raise StillGenerating
            case Gone():
                raise TakenDown
            case Negative() | Miss():
                raise PictureGone(
                    "The picture that this Idempotency-Key stands for was removed after it was delivered. "
                    "Send a new Idempotency-Key to have it made anew, which costs a credit."
                )

    async def _peek(self, generation_key: str, rendition_key: str) -> PeekResult:
        """Peek, and verify hits against the store: a picture that the store lost is reported and is no hit."""
        is_lost = False
        for _ in range(FINDS):
            result = await self._ledger.peek(generation_key, rendition_key)
            if is_lost and isinstance(result, Miss):
                return Negative(failure_class=FailureClass.MISSING_OBJECT, retry_after=timedelta(0))
            if not isinstance(result, Hit) or not await self._is_lost(result.entry):
                return result
            is_lost = True
        raise StoreUnavailable(STORE_LOSES)

    async def _counted(self, request: PictureRequest, finding: Coroutine[Any, Any, Found]) -> Found:
        """What is found, counted as one request; what is promised is counted by whoever keeps the promise."""
        started = self._clock.monotonic()
        outcome: Outcome | None = Outcome.FAILED
        try:
            found = await finding
            outcome = found.outcome if isinstance(found, LookupResult) else None
        finally:
            if outcome is not None:
                self._meter.count(request, outcome, size_bytes=0, seconds=self._clock.monotonic() - started)
        return found

    async def _find_stored(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        """Find the picture, and verify a hit against the store; a picture that was just made is not checked."""
        return await find_kept_object(lambda: self._coordinator.find(request, options), self._is_lost)

    async def _is_lost(self, entry: Entry) -> bool:
        return await is_lost(entry, store=self._store(entry), ledger=self._ledger)

    def _store(self, entry: Entry) -> ObjectStore:
        return self._stores[KINDS[entry.kind].bucket]

    async def _webp(self, entry: Entry) -> Entry | None:
        return await find_webp(entry, ledger=self._ledger, store=self._store(entry))

    async def _deliver(self, user: UUID, found: LookupResult, idempotency_key: str | None) -> Delivered:
        key = found.entry.generation_key
        answer = {"key": key, "cached": found.outcome is Outcome.HIT}
        kept, webp = await asyncio.gather(
            self._accounts.deliver(user, key, answer, idempotency_key), self._webp(found.entry)
        )
        return _delivered(found.entry, found.outcome, kept, webp=webp)


def _delivered(entry: Entry, outcome: Outcome, answer: Mapping[str, Any], *, webp: Entry | None) -> Delivered:
    """A picture with what the ledger remembers as its answer."""
    return Delivered(entry=entry, outcome=outcome, cached=answer["cached"], credits=answer["credits"], webp=webp)
