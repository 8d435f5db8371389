"""fal's queue as a provider: pictures by `fal-ai/flux/schnell`, or another of its models that takes the same arguments.

httpx and fal-client are loaded with the first submit: a process that only serves hits never pays for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from copperplate import prices
from copperplate.adapters.fal.over_queue import OverQueue
from copperplate.adapters.fal.recipe import arguments_of, canvas_of, model_parameters, price_of
from copperplate.errors import Misconfigured
from copperplate.recipes.image import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from copperplate.adapters.fal.over_queue import QueueOptions
    from copperplate.model import CanonicalValue, InputPicture, Job, Size

_MODEL = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9.-]*){1,5}")


class Fal(OverQueue):
    """`Provider` over fal's queue, with one model, which `variable` names."""

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        variable: str = "COPPERPLATE_IMAGE_MODEL",
        **options: Unpack[QueueOptions],
    ) -> None:
        if _MODEL.fullmatch(model) is None:
            raise Misconfigured(f"{variable} is not a model of fal, such as fal-ai/flux/schnell.")
        super().__init__(**options)
        self.models: tuple[str, ...] = (model,)

    def settings(self, model: str) -> tuple[str, ...]:
        """The safety checker, and the number of steps where we know the model."""
        return model_parameters(model)

    def canvas(self, size: Size) -> Size:
        """Multiples of 32 px, 512 to 2048 a side, covering `size`."""
        return canvas_of(size)

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """Per started megapixel of the canvas."""
        return price_of(recipe)

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """The billable units reported, at the model's price for one."""
        return prices.cost_of_units(str(recipe["model"]), usage)

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> Job:
        """One POST to the queue; see `Provider.submit`."""
        queue = await self._queue.get()
        return await queue.submit(str(recipe["model"]), arguments_of(recipe))
