"""One user in one of several processes asks for new pictures: `payment_worker DATABASE_URL FOLDER USER [CALL_SECONDS]`.

Reads lines `<first> <count>` and answers each with a line of JSON. All processes share `FOLDER`: the objects, and the
log in which every call to the provider is written. A call to the ledger gives up after `CALL_SECONDS`, where given.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

from bench.harness.request_worker import BUCKET, CountingProvider, PlainImages, wanted
from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger import postgres
from copperplate.adapters.system_clock import SystemClock
from copperplate.budgets import Charge
from copperplate.errors import CopperplateError
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.lookup import LookupOptions
from copperplate.model import PictureFormat
from copperplate.testing import PERMIT


async def ask(coordinator: Coordinator, user: UUID, first: int, count: int) -> Counter[str]:
    """So many different pictures at once; how each was answered."""

    async def one(number: int) -> str:
        try:
            found = await coordinator.find(
                wanted(f"picture {number}", PictureFormat.PNG), LookupOptions(permit=PERMIT, charge=Charge(user=user))
            )
        except CopperplateError as error:
            return error.code
        return str(found.outcome)

    return Counter(await asyncio.gather(*(one(number) for number in range(first, first + count))))


async def main() -> None:
    """Ask whenever told to."""
    url, folder, user = sys.argv[1], Path(sys.argv[2]), UUID(sys.argv[3])
    if sys.argv[4:]:
        postgres.CALL_SECONDS = float(sys.argv[4])
    ledger = postgres.PostgresLedger(url, max_connections=8)
    await ledger.open()
    kind = Kind(provider=CountingProvider(folder, has_jobs=False), store=FolderStore(folder / "objects", BUCKET))
    coordinator = Coordinator(ledger=ledger, kinds={"image": kind}, images=PlainImages(), clock=SystemClock())
    await ledger.credits(user)
    print("ready", flush=True)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            first, count = map(int, line.split())
            print(json.dumps(await ask(coordinator, user, first, count)), flush=True)
    finally:
        await ledger.close()


if __name__ == "__main__":
    asyncio.run(main())
