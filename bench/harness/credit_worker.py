"""One of several processes that call on credits at random: `python -m bench.harness.credit_worker DATABASE_URL SEED`.

Reads lines `<calls> <at once>` and answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import uvloop
from psycopg.conninfo import make_conninfo

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.budgets import Charge
from copperplate.errors import CopperplateError
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from copperplate.model import Condition, Failure, OriginalUpload, PictureFormat
from copperplate.recipes.image import image_request
from copperplate.recipes.objects import original_key, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from copperplate.model import PictureRequest

USERS = [UUID(int=number) for number in range(1, 21)]
MODEL = "copperplate/painter-1"
WANTS = [
    image_request(prompt=f"picture {n}", width=64, height=64, format=PictureFormat.PNG, model=MODEL) for n in range(60)
]
# Short, so that leads are taken over while their first holders still write.
LEASES = [timedelta(seconds=seconds) for seconds in (0.02, 0.2, 2.0)]
REPLAYED, COMPLETED = 0.25, 0.5
WEIGHTS = {
    "grant": 10,
    "acquire": 32,
    "complete": 16,
    "fail": 4,
    "deliver": 8,
    "report_missing": 8,
    "purge": 6,
    "refund": 5,
    "begin_request": 6,
    "sweep": 0.5,
    "forget": 0.2,
    "credits": 4,
}


class Caller:
    """Makes calls drawn from a seed, and some of them again."""

    def __init__(self, url: str, seed: str) -> None:
        self._random = random.Random(seed)
        self._ledger = PostgresLedger(url, max_connections=8)
        # A sweep sees everything a quarter of an hour later: it gives up on leads that others still hold.
        later = make_conninfo(url, options="-c copperplate.clock_offset=20min")
        self._sweeper = PostgresLedger(later, max_connections=1)
        self._url = url
        self._history: deque[Callable[[], Coroutine[Any, Any, Any]]] = deque(maxlen=500)
        self._leads: deque[tuple[PictureRequest, int, UUID]] = deque(maxlen=40)
        self._reservations: list[UUID] = []
        self.names: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    async def open(self) -> None:
        """Connect."""
        await self._ledger.open()
        await self._sweeper.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._ledger.close()
        await self._sweeper.close()

    async def call(self, calls: int, at_once: int) -> None:
        """Make so many calls, so many at once."""
        left = calls
        await self._read_reservations()

        async def one_after_the_other() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self._once()

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))

    async def _once(self) -> None:
        if self._history and self._random.random() < REPLAYED:
            name, act = "replay", self._random.choice(self._history)
        else:
            name = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            act = getattr(self, f"_{name}")()
            self._history.append(act)
        self.names[name] += 1
        try:
            await act()
        except CopperplateError as error:
            cause = error.__cause__
            self.errors[getattr(cause, "sqlstate", None) or type(cause or error).__name__] += 1

    async def _read_reservations(self) -> None:
        """What refunds are asked for, read past every adapter."""
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            rows = await connection.execute(
                "select r.id from copperplate.reservations as r order by r.created_at desc limit 200"
            )
            self._reservations = [row[0] async for row in rows] or [UUID(int=0)]

    # --- each draws now and may be called often -------------------------------------------------

    def _grant(self) -> Any:
        user, number = self._random.choice(USERS), self._random.randrange(1_000_000)
        return lambda: self._ledger.grant_credits(user, 1 + number % 5, f"{number} of {user.int}")

    def _acquire(self) -> Any:
        picture_request, user, leader = self._random.choice(WANTS), self._random.choice(USERS), self._uuid()
        lease, charges = self._random.choice(LEASES), [Charge(user=user, credits=self._random.choice((1, 1, 2)))]
        goes_on = self._random.random() < COMPLETED

        async def act() -> None:
            result = await self._ledger.acquire(picture_request, leader=leader, lease_duration=lease, charges=charges)
            if isinstance(result, Lead):
                self._leads.append((picture_request, result.fence, user))
                if goes_on:
                    await self._store(picture_request, result.fence)

        return act

    def _complete(self) -> Any:
        picture_request, fence, _ = self._lead()
        return lambda: self._store(picture_request, fence)

    async def _store(self, picture_request: PictureRequest, fence: int) -> None:
        key, upload = picture_request.generation_key, _upload(picture_request, fence)
        await self._ledger.begin_submit(key, fence, submit_no=1, provider="p", estimate_micro_usd=50)
        await self._ledger.intend_upload(key, fence, upload, usage={}, cost_micro_usd=40)
        await self._ledger.complete(key, fence, upload, url=None)

    def _fail(self) -> Any:
        picture_request, fence, _ = self._lead()
        failure = Failure(
            failure_class=FailureClass.TRANSIENT, message="no", retry_after=timedelta(milliseconds=50), billed=True
        )
        return lambda: self._ledger.fail(picture_request.generation_key, fence, failure)

    def _deliver(self) -> Any:
        picture_request, _, user = self._lead()
        name = self._random.choice(("k", "l", None))
        return lambda: self._ledger.deliver(user, picture_request.generation_key, {"url": "there"}, name)

    def _report_missing(self) -> Any:
        picture_request, fence, _ = self._lead()
        key = picture_request.generation_key
        entry = _upload(picture_request, fence).as_entry(
            kind="image", key=original_key(key), generation_key=key, is_original=True
        )
        return lambda: self._ledger.report_missing(entry)

    def _purge(self) -> Any:
        condition = Condition(key_prefix=self._random.choice(WANTS).generation_key[:2])
        return lambda: self._ledger.purge(condition, 10, is_dry_run=False)

    def _refund(self) -> Any:
        reservation = self._random.choice(self._reservations)
        return lambda: self._ledger.refund_credits(reservation)

    def _begin_request(self) -> Any:
        user, picture_request, name = (
            self._random.choice(USERS),
            self._random.choice(WANTS),
            self._random.choice(("k", "l", None)),
        )
        return lambda: self._ledger.begin_request(user, picture_request.generation_key, name)

    def _sweep(self) -> Any:
        return lambda: self._sweeper.sweep(20)

    def _forget(self) -> Any:
        user = self._random.choice(USERS)
        return lambda: self._ledger.forget_user(user)

    def _credits(self) -> Any:
        user = self._random.choice(USERS)
        return lambda: self._ledger.credits(user)

    def _lead(self) -> tuple[PictureRequest, int, UUID]:
        """One of the newest leads of this process, or one nobody ever had."""
        return self._random.choice(self._leads) if self._leads else (WANTS[0], -1, USERS[0])

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128))


def _upload(picture_request: PictureRequest, fence: int) -> OriginalUpload:
    digest = sha256_hex(f"{picture_request.generation_key} {fence}".encode())
    return OriginalUpload(
        path=f"2026/01/{digest}.png", digest=digest, size_bytes=1000, format="png", width=64, height=64
    )


async def main() -> None:
    """Call whenever told to."""
    caller = Caller(sys.argv[1], sys.argv[2])
    await caller.open()
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            calls, at_once = map(int, line.split())
            caller.names.clear()
            caller.errors.clear()
            await caller.call(calls, at_once)
            print(json.dumps({"names": caller.names, "errors": caller.errors}), flush=True)
    finally:
        await caller.close()


if __name__ == "__main__":
    uvloop.run(main())
