"""What makes the members of a batch in a trial: a process that takes work until it is killed, and its provider."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.harness.request_worker import BUCKET, PRICE_MICRO_USD, CountingProvider, PlainImages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, Job, PictureRequest
    from copperplate.services import Services

# A step ends after so long, and the next one begins.
STEP_SECONDS = 60.0
IDLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOrder:
    """Where a process works. A lease lasts `lease` seconds, a picture `seconds` at the provider."""

    url: str
    folder: str
    at_once: int
    lease: float
    seconds: float


class Submit(NamedTuple):
    """One line of the provider's book: the job was there from `began` until `due`, in seconds since 1970."""

    began: float
    due: float
    prompt: str


class Queue(CountingProvider):
    """A provider with jobs, whose book says from when to when it had each of them."""

    def __init__(self, folder: Path, *, seconds: float) -> None:
        super().__init__(folder, has_jobs=True)
        self._book = book_of(folder)
        self._seconds = seconds

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: object = ()) -> int | None:
        return PRICE_MICRO_USD

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> Job:
        from copperplate.model import Job

        prompt, began = str(recipe["prompt"]), time.time()
        due = began + self._seconds
        with self._book.open("a") as book:
            fcntl.flock(book, fcntl.LOCK_EX)
            book.write(f"{began} {due} {prompt}\n")
            book.flush()
        return Job(request_id=f"1 {due} {prompt}")


def book_of(folder: Path) -> Path:
    """The provider's book."""
    return folder / "submits"


def read_book(folder: Path) -> list[Submit]:
    """Every submit so far, in order; a line that is being written is not one yet."""
    if not book_of(folder).exists():
        return []
    lines = book_of(folder).read_text().rpartition("\n")[0].splitlines()
    parts = (line.split(" ", 2) for line in lines)
    return [Submit(float(began), float(due), prompt) for began, due, prompt in parts]


def wanted(prompt: str) -> PictureRequest:
    """A small picture."""
    from copperplate.model import PictureFormat
    from copperplate.recipes.image import image_request

    return image_request(prompt=prompt, width=64, height=64, format=PictureFormat.JPG, model=CountingProvider.models[0])


@contextlib.asynccontextmanager
async def services_of(order: BatchOrder) -> AsyncIterator[Services]:
    """Everything a server process has, over a real Postgres and a folder."""
    from datetime import timedelta

    from copperplate.adapters.filesystem import FolderStore
    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.compose import assemble
    from copperplate.generation.kinds import Kind
    from copperplate.generation.timings import Timings
    from copperplate.imaging.pillow_images import PillowImages
    from copperplate.settings import Settings

    ledger = PostgresLedger(order.url, max_connections=8)
    store = FolderStore(Path(order.folder) / "objects", BUCKET)
    provider = Queue(Path(order.folder), seconds=order.seconds)
    lease = timedelta(seconds=order.lease)
    await ledger.open()
    try:
        services = assemble(
            Settings.from_env({"COPPERPLATE_WORK_ITEMS": str(order.at_once)}),
            clock=SystemClock(),
            ledger=ledger,
            kinds={"image": Kind(provider=provider, store=store)},
            stores={BUCKET: store},
            images=PlainImages(),
            cleaner=PillowImages(),
            timings=Timings(lease=lease, heartbeat=lease / 4, margin=lease / 10),
        )
        yield services
        await services.request_meter.close()
    finally:
        await ledger.close()


def work(order: BatchOrder) -> None:
    """Take work until the process is killed."""
    asyncio.run(_work(order))


async def _work(order: BatchOrder) -> None:
    async with services_of(order) as services:
        while True:
            await services.work.run(within_seconds=STEP_SECONDS)
            await asyncio.sleep(IDLE_SECONDS)
