"""Pictures for signed-in people: the cache first, credits second, and one answer under one Idempotency-Key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import IdempotencyConflict, NotFound
from copperplate.model import Charge, FailureClass, Free, Hit, Negative, Outcome, Wait
from copperplate.recipes.image import original_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from copperplate.coordinator import Coordinator, Found
    from copperplate.model import Entry, Want
    from copperplate.ports import Clock, CreditLedger, Ledger
    from copperplate.usage import Usage

    UrlOf = Callable[[Entry], str]

# How often an ask that is answered early looks whether its picture is certain to be made.
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a caller is told of a picture that is there: its address, and the `credits` they have left."""

    key: str
    url: str
    cached: bool
    credits: int
    # How it came about this time: a remembered answer is a hit, whatever it says.
    outcome: Outcome

    @classmethod
    def of(cls, answer: Mapping[str, Any], outcome: Outcome) -> Delivered:
        """As the ledger remembers it."""
        told = {name: answer[name] for name in ("key", "url", "cached", "credits")}
        return cls(**told, outcome=outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The picture is being made; `key` is what to ask for it with."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The last attempt came to nothing, for the reason given; asking anew after `retry_after` makes another."""

    key: str
    failure_class: FailureClass
    retry_after: timedelta


class Asking:
    """Finds or makes what a user asks for, once, on their account where it has to be made."""

    def __init__(
        self, *, coordinator: Coordinator, ledger: Ledger, accounts: CreditLedger, usage: Usage, clock: Clock
    ) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._accounts = accounts
        self._usage = usage
        self._clock = clock

    async def ask(self, user: UUID, want: Want, *, url_of: UrlOf, idempotency_key: str | None) -> Delivered:
        """The picture's address, once it is there. A hit costs nothing; a miss costs whoever leads it a credit.

        Raises what `Coordinator.find` raises, and `IdempotencyConflict`.
        """
        if idempotency_key is not None and (known := await self._recall(user, want, idempotency_key)) is not None:
            return known
        found = await self._find(user, want)
        return await self._deliver(user, found.entry, url_of, idempotency_key, found.outcome)

    async def begin(self, user: UUID, want: Want, *, url_of: UrlOf, idempotency_key: str | None) -> Delivered | Pending:
        """As `ask`, but only until somebody is certain to make the picture: then it is `Pending`.

        Who cannot pay is told so here and never later.
        """
        if (known := await self._recall(user, want, idempotency_key)) is not None:
            return known
        finding = asyncio.create_task(self._find(user, want))
        finding.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to look
        while not finding.done():
            await asyncio.wait((finding,), timeout=LOOK_SECONDS)
            sight = await self._ledger.peek(want.generation_key, want.rendition_key)
            if isinstance(sight, Wait):  # a lease is held, and what it costs is reserved with it
                return Pending(key=want.generation_key)
        found = finding.result()
        return await self._deliver(user, found.entry, url_of, idempotency_key, found.outcome)

    async def look(self, user: UUID, key: str, *, url_of: UrlOf) -> Delivered | Pending | Failed:
        """What became of a generation this user asked for.

        Raises `NotFound` for everybody else's, whether there is one or not.
        """
        if not await self._accounts.is_asked_by(user, key):
            raise NotFound("You have not asked for such a picture, or it was long ago.")
        match await self._ledger.peek(key, original_key(key)):
            case Hit(entry=entry):
                return await self._deliver(user, entry, url_of, None, Outcome.HIT)
            case Wait():
                return Pending(key=key)
            case Negative(failure_class=failure_class, retry_after=rest):
                return Failed(key=key, failure_class=failure_class, retry_after=rest)
            case Free():
                return Failed(key=key, failure_class=FailureClass.ABANDONED, retry_after=timedelta(0))

    async def _recall(self, user: UUID, want: Want, idempotency_key: str | None) -> Delivered | None:
        """What was delivered under this key before; from here on the ask is remembered."""
        ask = await self._accounts.begin_ask(user, want.generation_key, idempotency_key)
        if ask.is_conflict:
            raise IdempotencyConflict("Send a new Idempotency-Key with a new wish.")
        if ask.answer is None:
            return None
        self._usage.count(want, Outcome.HIT, size_bytes=0, seconds=0.0)
        return Delivered.of(ask.answer, Outcome.HIT)

    async def _find(self, user: UUID, want: Want) -> Found:
        started = self._clock.monotonic()
        outcome = Outcome.FAILED
        try:
            found = await self._coordinator.find(want, charge=Charge(user=user))
            outcome = found.outcome
        finally:
            self._usage.count(want, outcome, size_bytes=0, seconds=self._clock.monotonic() - started)
        return found

    async def _deliver(
        self, user: UUID, entry: Entry, url_of: UrlOf, idempotency_key: str | None, outcome: Outcome
    ) -> Delivered:
        answer = {"key": entry.generation_key, "url": url_of(entry), "cached": outcome is Outcome.HIT}
        told = await self._accounts.deliver(user, entry.generation_key, answer, idempotency_key)
        return Delivered.of(told, outcome)
