"""A coordinator over a real provider adapter, real verification and memory; and recipes to ask with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.fal import Fal
from copperplate.adapters.memory_ledger import MemoryLedger
from copperplate.adapters.memory_store import MemoryStore
from copperplate.adapters.openai import OpenAIImages
from copperplate.adapters.system_clock import SystemClock
from copperplate.coordinator import Coordinator
from copperplate.imaging import PillowImages
from copperplate.leader import Kind, Timings
from copperplate.model import PictureFormat
from copperplate.recipes.image import image_want

if TYPE_CHECKING:
    from copperplate.model import CanonicalRecipe, Want
    from copperplate.ports import Provider
    from standin.server import Standin

KEY = "key-of-the-stand-in"


def fal_at(url: str, *, seconds: float = 20, model: str = "fal-ai/flux/schnell") -> Fal:
    """The adapter against a stand-in, asking often."""
    return Fal(key=KEY, clock=SystemClock(), queue_url=url, seconds=seconds, poll_first_seconds=0.01, model=model)


def openai_at(url: str, *, seconds: float = 20) -> OpenAIImages:
    """The adapter against a stand-in."""
    return OpenAIImages(key=KEY, clock=SystemClock(), base_url=url, seconds=seconds)


def provider_at(name: str, standin: Standin, *, seconds: float = 20) -> Fal | OpenAIImages:
    """Either adapter against a stand-in."""
    return fal_at(standin.url, seconds=seconds) if name == "fal" else openai_at(standin.openai_url, seconds=seconds)


def want_of(provider: Provider, prompt: str, *, width: int = 64, height: int = 64, seed: str = "") -> Want:
    """A wish for a picture by that provider."""
    model = provider.models[0]
    return image_want(
        prompt=prompt,
        width=width,
        height=height,
        format=PictureFormat.PNG,
        model=model,
        seed=seed,
        settings=provider.settings(model),
    )


def recipe_of(provider: Provider, prompt: str, *, width: int = 64, height: int = 64, seed: str = "") -> CanonicalRecipe:
    """The canonical recipe of such a wish."""
    return dict(want_of(provider, prompt, width=width, height=height, seed=seed).recipe)


@dataclass
class Studio:
    """What a test asks pictures of, and what it looks into afterwards."""

    provider: Provider
    ledger: MemoryLedger
    coordinator: Coordinator
    images: PillowImages

    def another_process(self, *, lease_seconds: float = 20) -> Coordinator:
        """A coordinator with flights of its own over the same ledger."""
        return _coordinator(self.provider, self.ledger, self.images, lease_seconds)

    async def close(self) -> None:
        """Close what was opened."""
        await self.provider.close()
        self.images.close()


def open_studio(provider: Provider, *, lease_seconds: float = 20) -> Studio:
    """A studio around a provider."""
    ledger, images = MemoryLedger(SystemClock()), PillowImages()
    return Studio(provider, ledger, _coordinator(provider, ledger, images, lease_seconds), images)


def _coordinator(provider: Provider, ledger: MemoryLedger, images: PillowImages, lease_seconds: float) -> Coordinator:
    timings = Timings(
        lease=timedelta(seconds=lease_seconds),
        heartbeat=timedelta(seconds=lease_seconds / 4),
        margin=timedelta(seconds=lease_seconds / 10),
        poll_first_seconds=lease_seconds / 40,
    )
    kinds = {"image": Kind(provider=provider, store=MemoryStore("generated-images"))}
    return Coordinator(ledger=ledger, kinds=kinds, images=images, clock=SystemClock(), timings=timings)
