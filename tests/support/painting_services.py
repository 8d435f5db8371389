"""Services that paint and encode real pictures, and count the submits."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from copperplate.adapters.painter import Painter
from copperplate.adapters.system_clock import SystemClock
from copperplate.imaging.pillow_images import PillowImages
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, ProviderResult


class CountingPainter(Painter):
    """The painter, counting what it is asked."""

    submits = 0

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> ProviderResult:
        self.submits += 1
        return await super().submit(recipe, inputs)


@contextlib.asynccontextmanager
async def painting_services() -> AsyncIterator[MemoryServices]:
    """Services over memory that paint, closed at the end of the block."""
    images = PillowImages()
    made = memory_services(provider=CountingPainter(SystemClock()), images=images)
    yield made
    await made.request_meter.close()
    images.close()
