"""OpenAI's images as a provider, through its own SDK without its retries.

The SDK takes half a second to import, so it is loaded with the first submit.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from copperplate import prices
from copperplate.adapters.lazy_client import LazyClient
from copperplate.errors import Misconfigured, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Size
from copperplate.recipes.kinds import provider_input_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.adapters.openai.calls import Calls
    from copperplate.model import CanonicalValue, InputPicture, Job, ProviderResult
    from copperplate.ports import Clock

BASE_URL: Final = "https://api.openai.com/v1"
DEFAULT_MODEL: Final = "gpt-image-2.5-flare"

# Gone, or going on 2026-12-01, by OpenAI's deprecations as of 2026-11-20.
RETIRED: Final[Mapping[str, str]] = {
    "dall-e-2": "2026-05-12",
    "dall-e-3": "2026-05-12",
    "gpt-image-1": "2026-10-23",
    "gpt-image-1.5": "2026-12-01",
    "gpt-image-1-mini": "2026-12-01",
    "chatgpt-image-latest": "2026-12-01",
}

# Medium: a picture is paid for once and looked at ever after, and high costs four times as much.
# Opaque and auto name what the model is told, so that nothing is left for it to resolve.
QUALITY: Final = "medium"
BACKGROUND: Final = "opaque"
MODERATION: Final = "auto"

BLOCK_PX: Final = 16
MAX_RATIO: Final = 3
# The models' smallest size is not documented to the pixel; 1024x1024 is the first they name.
MIN_PIXELS: Final = 1_024 * 1_024


_MODEL = re.compile(r"[a-z0-9][a-z0-9.-]*")


class OpenAIImages:
    """`Provider` over `images.generate`; answers PNG bytes at once. `seconds` bounds the call.

    `variable` is the setting that names `model`.

    There are no jobs and no idempotency: an answer that is lost is lost, and the picture may be billed.
    There are no seeds either; a seed in a recipe is only a number that makes it another picture.
    """

    name = "openai"
    is_billable = True

    def __init__(
        self,
        *,
        key: str,
        clock: Clock,
        model: str = DEFAULT_MODEL,
        variable: str = "COPPERPLATE_IMAGE_MODEL",
        base_url: str = BASE_URL,
        seconds: float = 120,
    ) -> None:
        if model in RETIRED:
            raise Misconfigured(f"{variable}: OpenAI retires {model} on {RETIRED[model]}. Use {DEFAULT_MODEL}.")
        if _MODEL.fullmatch(model) is None:
            raise Misconfigured(f"{variable} is not a model of OpenAI, such as {DEFAULT_MODEL}.")
        self.models: tuple[str, ...] = (model,)
        self._calls: LazyClient[Calls] = LazyClient(
            "copperplate.adapters.openai.calls",
            lambda module: module.Calls(key=key, base_url=base_url, seconds=seconds, clock=clock),
        )

    def settings(self, model: str) -> tuple[str, ...]:
        """What decides pixels besides prompt, size and model; `output_format` does not, as png loses nothing."""
        return (f"background={BACKGROUND}", f"moderation={MODERATION}", f"quality={QUALITY}")

    def canvas(self, size: Size) -> Size:
        """Multiples of 16 px, at most 3:1 and at least a megapixel, covering `size`.

        Above 2560x1440 OpenAI calls its sizes experimental; 2048x2048 is one of them.
        """
        width, height = max(size.width, size.height / MAX_RATIO), max(size.height, size.width / MAX_RATIO)
        scale = max(1.0, math.sqrt(MIN_PIXELS / (width * height)))
        width, height = _blocks(width * scale), _blocks(height * scale)
        return Size(width=max(width, _blocks(height / MAX_RATIO)), height=max(height, _blocks(width / MAX_RATIO)))

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """Of the tokens drawn for the size and read of the prompt; None for a model without a price."""
        request = provider_input_of(recipe)
        return prices.estimate_tokens(request.model, QUALITY, self.canvas(request.size), request.prompt)

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """The tokens reported, at the model's prices."""
        return prices.cost_of_tokens(str(recipe["model"]), usage)

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> ProviderResult:
        """One POST; see `Provider.submit`."""
        request = provider_input_of(recipe)
        calls = await self._calls.get()
        return await calls.generate(
            model=request.model,
            prompt=request.prompt,
            size=str(self.canvas(request.size)),
            quality=QUALITY,
            background=request.background or BACKGROUND,
            moderation=MODERATION,
        )

    async def collect(self, job: Job) -> ProviderResult:
        """Raises `ProviderFailed`: OpenAI's images have no jobs, so this one is another provider's."""
        message = f"OpenAI's images have no jobs; {job.request_id} came from another provider"
        raise ProviderFailed(FailureClass.TRANSIENT, message, billed=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()


def _blocks(px: float) -> int:
    return math.ceil(round(px, 6) / BLOCK_PX) * BLOCK_PX
