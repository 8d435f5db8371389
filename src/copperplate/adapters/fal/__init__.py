"""fal's queue as a provider: pictures by `fal-ai/flux/schnell`, or another of its models that takes the same arguments.

httpx and fal-client are loaded with the first submit: a process that only serves hits never pays for them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate import prices
from copperplate.adapters.fal.recipe import arguments_of, canvas_of, model_parameters, price_of
from copperplate.adapters.lazy_client import LazyClient
from copperplate.errors import Misconfigured
from copperplate.recipes.image import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.adapters.fal.queue import Queue
    from copperplate.model import CanonicalValue, InputPicture, Job, ProviderResult, Size
    from copperplate.ports import Clock

QUEUE_URL: Final = "https://queue.fal.run"
_MODEL = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9.-]*){1,5}")


class Fal:
    """`Provider` over fal's queue. `seconds` bounds one wait for a job; past it, the job is left to be resumed.

    `retry_seconds` is how long a completed job whose picture cannot be had is asked again in one wait; `retention` how
    long fal is told to keep its picture; `result_hosts` are hosts of pictures beside fal's own.
    """

    name = "fal"
    is_billable = True

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self,
        *,
        key: str,
        clock: Clock,
        model: str = DEFAULT_MODEL,
        variable: str = "COPPERPLATE_IMAGE_MODEL",
        queue_url: str = QUEUE_URL,
        seconds: float = 120,
        poll_first_seconds: float = 0.25,
        retry_seconds: float = 15,
        retention: timedelta = timedelta(days=1),
        result_hosts: tuple[str, ...] = (),
    ) -> None:
        if _MODEL.fullmatch(model) is None:
            raise Misconfigured(f"{variable} is not a model of fal, such as fal-ai/flux/schnell.")
        self.models: tuple[str, ...] = (model,)
        self._queue: LazyClient[Queue] = LazyClient(
            "copperplate.adapters.fal.queue",
            lambda module: module.Queue(
                key=key,
                url=queue_url,
                clock=clock,
                seconds=seconds,
                poll_first_seconds=poll_first_seconds,
                retry_seconds=retry_seconds,
                retention=retention,
                result_hosts=result_hosts,
            ),
        )

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

    async def collect(self, job: Job) -> ProviderResult:
        """Wait for the job and fetch its picture; see `Provider.collect`."""
        queue = await self._queue.get()
        return await queue.collect(job)

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()
