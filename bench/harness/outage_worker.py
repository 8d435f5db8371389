"""What a server process does while its database comes and goes: asks for pictures, and notes each answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.serving.renditions import Renditions

# A new picture this often; every caller of every process asks for the newest ones.
PICTURE_SECONDS = 0.25
# And whatever becomes of those, somebody new asks each process for a picture of their own this often.
STRANGER_SECONDS = 1.0
KEPT_SHARE = 0.4
OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who asks, and where; until a file named `over` is there."""

    name: str
    url: str
    folder: str
    has_jobs: bool
    lease_seconds: float
    callers: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """One question and its answer: `picture`, or the code of an error."""

    prompt: str
    began_at: float  # seconds since the epoch
    seconds: float
    answer: str
    outcome: str = ""


def ask_on(order: Order) -> None:
    """Run one process to its end and leave a note of all its answers."""
    asked = asyncio.run(_ask_on(order))
    note = Path(order.folder) / f"{order.name}.json"
    note.with_suffix(".new").write_text(json.dumps([_row(each) for each in asked]))
    note.with_suffix(".new").rename(note)


def ask_each(url: str, folder: Path, prompts: list[str]) -> list[IdempotencyRecord]:
    """Ask for each picture once."""

    async def ask_all() -> list[IdempotencyRecord]:
        async with _opened(url, folder, has_jobs=True, lease_seconds=20) as serving:
            return await asyncio.gather(*(_ask(serving, prompt) for prompt in prompts))

    return asyncio.run(ask_all())


def read_note(folder: Path, name: str) -> list[IdempotencyRecord]:
    """The answers a process noted."""
    return [IdempotencyRecord(**row) for row in json.loads((folder / f"{name}.json").read_text())]


async def _ask_on(order: Order) -> list[IdempotencyRecord]:
    asked: list[IdempotencyRecord] = []
    folder = Path(order.folder)

    async def call(serving: Renditions) -> None:
        while not (folder / OVER).exists():
            newest = int(time.time() / PICTURE_SECONDS)
            kept = [each for each in asked[-500:] if each.answer == "picture"]
            is_kept = bool(kept) and random.random() < KEPT_SHARE
            prompt = random.choice(kept).prompt if is_kept else f"picture {newest - random.randrange(2)}"
            asked.append(await _ask(serving, prompt))
            await asyncio.sleep(random.uniform(0.05, 0.15))

    async def call_once(serving: Renditions, prompt: str) -> None:
        asked.append(await _ask(serving, prompt))

    async def send_strangers(serving: Renditions) -> None:
        async with asyncio.TaskGroup() as strangers:
            for number in itertools.count():
                if (folder / OVER).exists():
                    return
                strangers.create_task(call_once(serving, f"{order.name}, stranger {number}"))
                await asyncio.sleep(STRANGER_SECONDS)

    async with _opened(order.url, folder, has_jobs=order.has_jobs, lease_seconds=order.lease_seconds) as serving:
        await asyncio.gather(send_strangers(serving), *(call(serving) for _ in range(order.callers)))
    return asked


@asynccontextmanager
async def _opened(url: str, folder: Path, *, has_jobs: bool, lease_seconds: float) -> AsyncIterator[Renditions]:
    from bench.harness.request_worker import BUCKET, CountingProvider, PlainImages
    from copperplate.adapters.filesystem import FolderStore
    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.generation.timings import Timings
    from copperplate.serving.renditions import Renditions

    clock, images = SystemClock(), PlainImages()
    ledger = PostgresLedger(url, max_connections=4)
    provider, store = CountingProvider(folder, has_jobs=has_jobs), FolderStore(folder / "objects", BUCKET)
    kinds = {"image": Kind(provider=provider, store=store)}
    timings = Timings(
        lease=timedelta(seconds=lease_seconds),
        heartbeat=timedelta(seconds=lease_seconds / 4),
        margin=timedelta(seconds=lease_seconds / 10),
    )
    coordinator = Coordinator(ledger=ledger, kinds=kinds, images=images, clock=clock, timings=timings)
    await ledger.open()
    try:
        yield Renditions(coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock)
    finally:
        await coordinator.shut_down(within_seconds=5)
        await ledger.close()


async def _ask(serving: Renditions, prompt: str) -> IdempotencyRecord:
    from bench.harness.request_worker import CountingProvider
    from copperplate.errors import CopperplateError
    from copperplate.model import PictureFormat
    from copperplate.recipes.image import image_request

    model = CountingProvider.models[0]
    picture_request = image_request(prompt=prompt, width=64, height=64, format=PictureFormat.JPG, model=model)
    began_at, began = time.time(), time.monotonic()
    try:
        found = await serving.read(picture_request, GENERATE)
        answer, outcome = "picture", found.outcome.value
    except CopperplateError as error:
        answer, outcome = error.code, ""
    return IdempotencyRecord(
        prompt=prompt, began_at=began_at, seconds=time.monotonic() - began, answer=answer, outcome=outcome
    )


def _row(each: IdempotencyRecord) -> dict[str, Any]:
    return {name: getattr(each, name) for name in IdempotencyRecord.__slots__}
