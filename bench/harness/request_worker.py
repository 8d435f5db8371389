"""What a server process does in a trial: asks for one picture, and dies or stops where it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.ledger.postgrest import PostgrestLedger
from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.system_clock import SystemClock
from copperplate.budgets import Budget, Spending
from copperplate.errors import CopperplateError
from copperplate.generation import crash_points
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.lookup import LookupOptions, Permit
from copperplate.generation.timings import Timings
from copperplate.ledger_answers import Miss
from copperplate.model import Job, PictureFacts, PictureFormat, ProviderResult
from copperplate.recipes.image import image_request
from copperplate.serving.renditions import Renditions
from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, PictureRequest, Placeholder, Rendition, Size
    from copperplate.ports import Clock, Ledger, OpenPicture

GENERATION_SECONDS = 0.5
BUCKET = "generated-images"
PRICE_MICRO_USD = 1_000


@dataclass(frozen=True)
class Order:
    """Who asks for what, and where it ends. `ledger` is a libpq URL, or a PostgREST's address beside its `key`."""

    name: str
    prompt: str
    ledger: str
    folder: str
    has_jobs: bool
    key: str = field(default="", repr=False)
    crash_at: str = ""
    callers: int = 1
    follows: bool = False
    lease: float = 1.0
    asks_png_first: bool = False
    # Instead of one picture for all callers: one each.
    prompts: tuple[str, ...] = ()
    # Whose budget it is, and how many pictures the wall allows.
    payer: str = ""
    wall_pictures: int | None = None


class CountingProvider:
    """Numbers its answers and logs them in a file that all processes share."""

    name = "counting"
    models: tuple[str, ...] = ("copperplate/painter-1",)
    is_billable = True

    def __init__(self, folder: Path, *, has_jobs: bool, is_endless: bool = False, has_bills: bool = False) -> None:
        self._submits = folder / "submits"
        self._has_jobs = has_jobs
        self._is_endless = is_endless
        self._has_bills = has_bills
        self.is_generating = asyncio.Event()

    def settings(self, model: str) -> tuple[str, ...]:
        return ()

    def canvas(self, size: Size) -> Size:
        return size

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        return usage.get("bill")

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: object = ()) -> int | None:
        return None

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        prompt = str(recipe["prompt"])
        number = self._write_down(prompt)
        if self._has_jobs:
            return Job(request_id=f"{number} {time.time() + GENERATION_SECONDS} {prompt}")
        await self._generate(GENERATION_SECONDS)
        return ProviderResult(body=f"picture {number} of {prompt}".encode(), usage=self._usage(number))

    async def close(self) -> None:
        """Nothing is held open."""

    async def collect(self, job: Job) -> ProviderResult:
        number, due, prompt = job.request_id.split(" ", 2)
        await self._generate(float(due) - time.time())
        return ProviderResult(body=f"picture {number} of {prompt}".encode(), usage=self._usage(int(number)))

    def _usage(self, number: int) -> dict[str, int]:
        """Half of what is booked for it, or one and a half."""
        return {"bill": PRICE_MICRO_USD // 2 if number % 2 else PRICE_MICRO_USD * 3 // 2} if self._has_bills else {}

    async def _generate(self, seconds: float) -> None:
        """So long, or until the process is dead: a point on the way may come late on a busy machine."""
        self.is_generating.set()
        await (asyncio.Event().wait() if self._is_endless else asyncio.sleep(max(0.0, seconds)))

    def _write_down(self, prompt: str) -> int:
        with self._submits.open("a+") as submits:
            fcntl.flock(submits, fcntl.LOCK_EX)
            submits.seek(0)
            number = len(submits.readlines()) + 1
            submits.write(f"{number} {prompt}\n")
            submits.flush()
        return number


class PlainImages:
    """Takes any bytes for a PNG of the asked size."""

    encoder_version = 1

    async def verify(self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]]) -> PictureFacts:
        await begin()
        return PictureFacts(format="png", size=covers)

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str | None, is_urgent: bool = True) -> AsyncIterator[OpenPicture]:
        yield PlainPicture(original)

    async def placeholder(self, body: bytes) -> Placeholder:
        raise NotImplementedError

    async def draw_placeholder(
        self, placeholder: Placeholder, picture_format: PictureFormat, *, canvas: Size, model: str | None
    ) -> bytes:
        raise NotImplementedError


class PlainPicture:
    """A picture that `PlainImages` has opened."""

    def __init__(self, original: bytes) -> None:
        self._original = original

    async def encode(self, rendition: Rendition, *, canvas: Size, at_most_bytes: int | None = None) -> bytes:
        return self._original + f" as {rendition.format}".encode()


def _clock(order: Order, provider: CountingProvider, heartbeat: float) -> Clock:
    """The system's; where the first heartbeat is the end, that comes while the provider is at it, and not before."""

    class LateBeats(SystemClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if seconds == heartbeat:
                await provider.is_generating.wait()

    return LateBeats() if order.crash_at == "beating" else SystemClock()


def ask(order: Order) -> None:
    """Run one process to its end, whatever that is, and leave a note of what it was answered."""
    crash_points.arm(order.crash_at)
    answers = asyncio.run(_ask(order))
    note = Path(order.folder) / f"{order.name}.json"
    note.with_suffix(".new").write_text(json.dumps({**asdict(order), **answers}))
    note.with_suffix(".new").rename(note)


async def _ask(order: Order) -> dict[str, Any]:
    folder, lease = Path(order.folder), order.lease
    picture_request = wanted(order.prompt, PictureFormat.JPG)
    store = FolderStore(folder / "objects", BUCKET)
    provider = CountingProvider(
        folder, has_jobs=order.has_jobs, is_endless=order.crash_at == "beating", has_bills=bool(order.payer)
    )
    options = _options(order)
    # Soon, however long the lease is on a busy machine.
    heartbeat = min(lease, GENERATION_SECONDS * 2) / 4
    timings = Timings(
        lease=timedelta(seconds=lease), heartbeat=timedelta(seconds=heartbeat), margin=timedelta(seconds=lease / 10)
    )
    clock, images = _clock(order, provider, heartbeat), PlainImages()
    kinds = {"image": Kind(provider=provider, store=store)}
    async with _opened(order) as ledger:
        coordinator = Coordinator(ledger=ledger, kinds=kinds, images=images, clock=clock, timings=timings)
        serving = Renditions(coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock)
        while order.follows and isinstance(
            await ledger.peek(picture_request.generation_key, picture_request.rendition_key), Miss
        ):
            await asyncio.sleep(0.02)
        if order.asks_png_first:
            await serving.read(wanted(order.prompt, PictureFormat.PNG), GENERATE)
        asked_at = time.time()
        asked = [wanted(prompt, PictureFormat.JPG) for prompt in order.prompts] or [picture_request] * order.callers
        bodies = await asyncio.gather(*(_answer(serving, each, options) for each in asked))
        answered_at = time.time()
        await serving.shut_down(within_seconds=10)
        return {"asked_at": asked_at, "answered_at": answered_at, "bodies": bodies}


@contextlib.asynccontextmanager
async def _opened(order: Order) -> AsyncIterator[Ledger]:
    if order.key:
        async with make_client() as client:
            yield PostgrestLedger(client, order.ledger, order.key)
        return
    ledger = PostgresLedger(order.ledger, max_connections=4)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def wanted(prompt: str, picture_format: PictureFormat) -> PictureRequest:
    """A small picture in one format."""
    return image_request(prompt=prompt, width=64, height=64, format=picture_format, model=CountingProvider.models[0])


def _options(order: Order) -> LookupOptions:
    """Without a payer, pictures that no budget bounds."""
    if not order.payer:
        return GENERATE
    wall = Budget(name="all", cap_pictures=order.wall_pictures)
    budgets = (Budget(name=order.payer, is_own=True), Budget(name="provider:counting"), wall)
    spending = Spending(payer=order.payer, amount_micro_usd=PRICE_MICRO_USD, budgets=budgets)
    return LookupOptions(permit=Permit(spending=spending))


async def _answer(serving: Any, picture_request: PictureRequest, options: LookupOptions) -> str:
    try:
        body = (await serving.read(picture_request, options)).body
    except CopperplateError as error:
        return f"{error.code}: {error.__cause__!r}"
    return str(body.decode())
