"""Coordinators over memory with a clock that stands still: races are scripted, never hoped for."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.errors import LedgerUnavailable, NoPicture, ProviderFailed, StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.lookup import LookupOptions
from copperplate.generation.timings import Timings
from copperplate.model import Job, PictureFacts, PictureFormat, ProviderResult, Size
from copperplate.testing import PERMIT
from copperplate.tiers.tiers import Tiers
from tests.support.pictures import ENCODER_VERSION, PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from copperplate.budgets import Charge
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import CanonicalValue, InputPicture, PictureRequest, Placeholder, Rendition
    from copperplate.ports import Ledger, OpenPicture

BUCKET = "generated-images"


@dataclass
class ScriptedProvider:
    """A provider that counts what it is asked and answers when, and how, the test says."""

    clock: FakeClock
    name: str = "scripted"
    models: tuple[str, ...] = ("copperplate/painter-1",)
    is_billable: bool = True
    seconds: float = 0.0
    collect_seconds: float = 0.0
    has_jobs: bool = False
    submits: int = 0
    collects: int = 0
    failures: list[Exception] = field(default_factory=list)
    # What the next collections come to: an error, or bytes. Afterwards all goes well.
    collected: list[Exception | bytes] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    # What it was given to work on, by submit.
    inputs: list[Sequence[InputPicture]] = field(default_factory=list)
    prepared: int = 0

    async def prepare(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture]) -> None:
        self.prepared += 1

    def settings(self, model: str) -> tuple[str, ...]:
        return ()

    def canvas(self, size: Size) -> Size:
        return size

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        return 3_000

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        return 3_000 if usage else None

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        self.submits += 1
        self.inputs.append(inputs)
        number = self.submits
        await self.clock.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        if self.has_jobs:
            return Job(request_id=f"job-{number}", urls={"status_url": f"https://queue.example/{number}"})
        return ProviderResult(body=f"picture {number}".encode(), usage=dict(self.usage))

    async def collect(self, job: Job) -> ProviderResult:
        self.collects += 1
        await self.clock.sleep(self.collect_seconds)
        scripted = self.collected.pop(0) if self.collected else None
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None:
            return ProviderResult(body=scripted, usage=dict(self.usage))
        return ProviderResult(body=f"picture of {job.request_id}".encode(), usage=dict(self.usage))

    async def close(self) -> None:
        pass


@dataclass
class GatedProvider(ScriptedProvider):
    """Makes nothing until the gate is opened; `began` is set by the first submit."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        self.began.set()
        await self.gate.wait()
        return await super().submit(recipe, inputs)


async def _at_once() -> None:
    pass


class PlainImages:
    """Takes any bytes but `rubbish` for a PNG of the asked size; encoding names the format."""

    encoder_version = ENCODER_VERSION

    async def verify(
        self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]] = _at_once
    ) -> PictureFacts:
        await begin()
        if body.startswith(b"rubbish"):
            raise NoPicture("not a picture")
        if body.startswith(b"wrong"):
            raise ProviderFailed(FailureClass.BAD_OUTPUT, "not the picture asked for")
        return PictureFacts(format="png", size=covers)

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str | None, is_urgent: bool = True) -> AsyncIterator[OpenPicture]:
        yield PlainPicture(original, self)

    async def placeholder(self, body: bytes) -> Placeholder:
        """`PLACEHOLDER`, of any bytes but `rubbish`."""
        if body.startswith(b"rubbish"):
            raise NoPicture("not a picture")
        return PLACEHOLDER

    async def draw_placeholder(
        self, placeholder: Placeholder, picture_format: PictureFormat, *, canvas: Size, model: str | None
    ) -> bytes:
        """A body that names what it was drawn from."""
        return f"{placeholder.color} as {picture_format} by {model}".encode()

    async def encode(self, original: bytes, rendition: Rendition) -> bytes:
        """What one rendition of an open picture is encoded to."""
        size = "" if rendition.size is None else f" {rendition.size}"
        return original + f" as {rendition.format}{size}".encode()


class PlainPicture:
    """A picture that `PlainImages` has opened."""

    def __init__(self, original: bytes, images: PlainImages) -> None:
        self._original = original
        self._images = images

    async def encode(self, rendition: Rendition, *, canvas: Size, at_most_bytes: int | None = None) -> bytes:
        encoded = await self._images.encode(self._original, rendition)
        if at_most_bytes is not None and len(encoded) > at_most_bytes:
            raise ProviderFailed(FailureClass.BAD_OUTPUT, "too large")
        return encoded


class FlakyStore(MemoryStore):
    """Fails the next `failing` puts."""

    failing = 0

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        if self.failing:
            self.failing -= 1
            raise StoreUnavailable("the store is down")
        await super().put(path, body, media_type=media_type)


async def kill(process: Coordinator, ledger: Ledger) -> None:
    """End a process as SIGKILL does: nothing of its flights runs any more, and it does not say goodbye."""

    async def say_nothing(key: str, fence: int, lease_duration: timedelta) -> bool:
        raise LedgerUnavailable

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "heartbeat", say_nothing)
        await process.shut_down(within_seconds=0)


class CoordinatorHarness:
    """One ledger, one store, one provider, and as many coordinators (processes) as a test wants."""

    def __init__(self, **provider: Any) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)
        self.store = FlakyStore(BUCKET)
        self.provider = ScriptedProvider(self.clock, **provider)
        self.images = PlainImages()
        self.kinds = {"image": Kind(provider=self.provider, store=self.store)}
        # What every process stores beside an original.
        self.ahead: tuple[PictureFormat, ...] = (PictureFormat.WEBP,)

    def process(
        self, *, timings: Timings | None = None, max_waiters: int = 5_000, tiers: Tiers | None = None
    ) -> Coordinator:
        """A coordinator with flights of its own, as a process has."""
        return Coordinator(
            ledger=self.ledger,
            kinds=self.kinds,
            images=self.images,
            clock=self.clock,
            timings=timings or Timings(),
            max_waiters=max_waiters,
            ahead=self.ahead,
            begin_fill=(tiers or Tiers(None, self.clock)).begin_fill,
        )

    async def begin(
        self, process: Coordinator, asked: PictureRequest, charge: Charge | None = None
    ) -> asyncio.Task[LookupResult]:
        """Ask, and let everything run that can before time moves."""
        task = asyncio.create_task(process.find(asked, LookupOptions(permit=PERMIT, charge=charge)))
        await self.clock.settle()
        return task

    async def kill(self, process: Coordinator) -> None:
        """End a process as SIGKILL does: nothing of its flights runs any more, nothing is said."""

        await kill(process, self.ledger)
