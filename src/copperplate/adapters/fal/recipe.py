"""From a canonical recipe to what fal is asked, and what that costs. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from copperplate import prices
from copperplate.model import Size
from copperplate.recipes.kinds import provider_input_of
from copperplate.recipes.provider_input import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalValue


# Steps of the models we know; others are sent none.
STEPS: Final[Mapping[str, int]] = {"fal-ai/flux/schnell": 4, "fal-ai/flux/dev": 28}

# Flux works on blocks of 8 or 16 px and may round a size down. Multiples of 32 survive any of that.
BLOCK_PX: Final = 32
# Below this, what flux draws is a smear; it costs the same, as a started megapixel is a whole one.
MIN_SIDE_PX: Final = 512
MAX_SIDE_PX: Final = 2_048


def model_parameters(model: str) -> tuple[str, ...]:
    """The fixed parameters that change pixels, sorted.

    `output_format` is not among them: png loses nothing, so it changes none.
    """
    steps = STEPS.get(model)
    fixed = ["enable_safety_checker=true"]
    return tuple(fixed if steps is None else [*fixed, f"num_inference_steps={steps}"])


def canvas_of(size: Size) -> Size:
    """A size flux draws well that covers `size`, in its ratio as far as 512 and 2048 px a side allow."""
    scale = max(1.0, min(MIN_SIDE_PX / min(size.width, size.height), MAX_SIDE_PX / max(size.width, size.height)))
    return Size(width=_side(size.width * scale), height=_side(size.height * scale))


def price_of(recipe: Mapping[str, CanonicalValue]) -> int | None:
    """Millionths of a dollar for one picture; None for a model without a price."""
    return prices.estimate_megapixels(str(recipe["model"]), canvas_of(size_of(recipe)))


def arguments_of(recipe: Mapping[str, CanonicalValue]) -> dict[str, Any]:
    """The JSON body of the submit. A seed is a number in it, beyond 2^63 as well."""
    request = provider_input_of(recipe)
    canvas = canvas_of(request.size)
    arguments: dict[str, Any] = {
        "prompt": request.prompt,
        "image_size": {"width": canvas.width, "height": canvas.height},
        "num_images": 1,
        "enable_safety_checker": True,
        # Lossless: every rendition is made from it, a png with a jpeg's blemishes would be a poor one.
        "output_format": "png",
    }
    if (steps := STEPS.get(request.model)) is not None:
        arguments["num_inference_steps"] = steps
    if request.seed:
        arguments["seed"] = int(request.seed)
    return arguments


def _side(px: float) -> int:
    return max(MIN_SIDE_PX, min(MAX_SIDE_PX, math.ceil(round(px, 6) / BLOCK_PX) * BLOCK_PX))
