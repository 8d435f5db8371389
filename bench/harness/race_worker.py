"""One of several processes that acquire the same key at once: `python -m bench.harness.race_worker DATABASE_URL`.

Reads lines `<start> <calls> <at once> <text>` and answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import uvloop

from bench.harness.databases import request_of
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from copperplate.model import PictureRequest


async def race(
    ledger: PostgresLedger, picture_request: PictureRequest, *, calls: int, at_once: int
) -> dict[str, object]:
    """Acquire one key over and over; every call comes from another caller."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    left = calls

    async def caller() -> None:
        nonlocal left, slowest
        while left > 0:
            left -= 1
            began = time.perf_counter()
            try:
                result = await ledger.acquire(picture_request, leader=uuid4(), lease_duration=timedelta(seconds=60))
                outcomes[type(result).__name__] += 1
            except CopperplateError:
                outcomes["error"] += 1
            slowest = max(slowest, time.perf_counter() - began)

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return {"outcomes": outcomes, "slowest": slowest}


async def main() -> None:
    """Race whenever told to."""
    ledger = PostgresLedger(sys.argv[1])
    await ledger.open()
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            start, calls, at_once, text = line.split()
            await asyncio.sleep(max(0.0, float(start) - time.time()))
            answer = await race(ledger, request_of("/1024x1024.jpg", text), calls=int(calls), at_once=int(at_once))
            print(json.dumps(answer), flush=True)
    finally:
        await ledger.close()


if __name__ == "__main__":
    uvloop.run(main())
