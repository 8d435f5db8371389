"""A coordinator over a real provider adapter, real verification and memory; and recipes to ask with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.fal import Fal
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.openai import OpenAIImages
from copperplate.adapters.system_clock import SystemClock
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import PictureFormat
from copperplate.recipes.image import image_request
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    from copperplate.model import CanonicalRecipe, PictureRequest
    from copperplate.ports import Provider
    from tests.standin.server import Standin

KEY = "key-of-the-stand-in"


def fal_at(
    url: str,
    *,
    seconds: float = 20,
    retry_seconds: float = 0.5,
    model: str = "fal-ai/flux/schnell",
    result_hosts: tuple[str, ...] = (),
) -> Fal:
    """The adapter against a stand-in, asking often, and insisting for a moment only."""
    return Fal(
        key=KEY,
        clock=SystemClock(),
        queue_url=url,
        seconds=seconds,
        poll_first_seconds=0.01,
        retry_seconds=retry_seconds,
        model=model,
        result_hosts=result_hosts,
    )


def openai_at(url: str, *, seconds: float = 20) -> OpenAIImages:
    """The adapter against a stand-in."""
    return OpenAIImages(key=KEY, clock=SystemClock(), base_url=url, seconds=seconds)


def provider_at(name: str, standin: Standin, *, seconds: float = 20) -> Fal | OpenAIImages:
    """Either adapter against a stand-in."""
    return fal_at(standin.url, seconds=seconds) if name == "fal" else openai_at(standin.openai_url, seconds=seconds)


def request_of(provider: Provider, prompt: str, *, width: int = 64, height: int = 64, seed: str = "") -> PictureRequest:
    """A request for a picture by that provider."""
    model = provider.models[0]
    return image_request(
        prompt=prompt,
        width=width,
        height=height,
        format=PictureFormat.PNG,
        model=model,
        seed=seed,
        settings=provider.settings(model),
    )


def recipe_of(provider: Provider, prompt: str, *, width: int = 64, height: int = 64, seed: str = "") -> CanonicalRecipe:
    """The canonical recipe of such a request."""
    return dict(request_of(provider, prompt, width=width, height=height, seed=seed).recipe)


@dataclass
class ProviderHarness:
    """One provider, a ledger in memory, and coordinators over both."""

    provider: Provider
    kind: str = "image"
    lease_seconds: float = 20
    retention: timedelta = timedelta(days=1)
    collect_pause: timedelta = timedelta(seconds=0.1)
    look: timedelta = timedelta(seconds=8)
    ledger: MemoryLedger = field(default_factory=lambda: MemoryLedger(SystemClock()))
    images: PillowImages = field(default_factory=PillowImages)
    coordinator: Coordinator = field(init=False)
    processes: list[Coordinator] = field(default_factory=list)
    store: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStore(KINDS[self.kind].bucket)
        self.coordinator = self.another_process()

    def another_process(self, *, lease_seconds: float | None = None) -> Coordinator:
        """A coordinator with flights of its own over the same ledger."""
        lease_seconds = lease_seconds or self.lease_seconds
        timings = Timings(
            lease=timedelta(seconds=lease_seconds),
            heartbeat=timedelta(seconds=lease_seconds / 4),
            margin=timedelta(seconds=lease_seconds / 10),
            poll_first_seconds=lease_seconds / 40,
            job_retention=self.retention,
            collect_pause=self.collect_pause,
            look=self.look,
        )
        kinds = {self.kind: Kind(provider=self.provider, store=self.store)}
        process = Coordinator(ledger=self.ledger, kinds=kinds, images=self.images, clock=SystemClock(), timings=timings)
        self.processes.append(process)
        return process

    async def close(self) -> None:
        """End what is under way, and close what was opened."""
        for process in self.processes:
            await process.shut_down(within_seconds=0)
        await self.provider.close()
        self.images.close()


OpenHarness = Callable[..., ProviderHarness]


@pytest.fixture
async def open_harness() -> AsyncIterator[OpenHarness]:
    """Makes harnesses and closes them, whatever fails: a connection left open fails the test it is collected in."""
    async with AsyncExitStack() as stack:

        def make(provider: Provider, **options: Any) -> ProviderHarness:
            harness = ProviderHarness(provider, **options)
            stack.push_async_callback(harness.close)
            return harness

        yield make
