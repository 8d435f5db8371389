"""The painter: a provider that needs no key and no network, and charges nothing.

It draws a landscape, or a face for a memoji, from the recipe alone. The same recipe gives the same pixels on
every machine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.sides import MIN_SIDE_PX
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import ProviderResult, Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, Job
    from copperplate.ports import Clock

MODEL: Final = "copperplate/painter-1"


class Painter:
    """`Provider` that draws locally; answers PNG bytes at once, or after `seconds` if told to pretend."""

    name = "painter"
    models: tuple[str, ...] = (MODEL,)
    is_billable = False

    def __init__(self, clock: Clock, *, seconds: float = 0) -> None:
        self._clock = clock
        self._seconds = seconds

    def settings(self, model: str) -> tuple[str, ...]:
        """Nothing can be set: the model's name stands for every pixel."""
        return ()

    def canvas(self, size: Size) -> Size:
        """Any size is painted as asked, from 16 px a side."""
        return Size(width=max(MIN_SIDE_PX, size.width), height=max(MIN_SIDE_PX, size.height))

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """Zero: it only costs this machine's time."""
        return 0

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """Zero, whatever it reports."""
        return 0

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> ProviderResult:
        """The finished picture as PNG; an image's `width` and `height` are px, 1024 where absent."""
        if self._seconds > 0:
            await self._clock.sleep(self._seconds)
        return ProviderResult(body=await asyncio.to_thread(_paint_png, dict(recipe)))

    async def collect(self, job: Job) -> ProviderResult:
        """Raises `ProviderFailed`: the painter has no jobs, so this one is somebody else's."""
        message = f"the painter has no jobs; {job.request_id} came from another provider"
        raise ProviderFailed(FailureClass.INVALID, message, billed=False)

    async def close(self) -> None:
        """Nothing is open."""


def _paint_png(recipe: dict[str, CanonicalValue]) -> bytes:
    # Imported here: a process that never paints never loads Pillow.
    from copperplate.adapters.painter.scenes import paint_png

    return paint_png(recipe)
