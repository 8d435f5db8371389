"""From a canonical recipe to what fal is asked, and what that costs. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from copperplate.model import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is fixed for one endpoint: its steps, and its price per megapixel where known."""

    steps: int | None
    micro_usd_per_megapixel: int | None


# Prices as in litellm 1.109.1's price map, read 2026-11-20; not verified against a bill.
ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "fal-ai/flux/schnell": Endpoint(steps=4, micro_usd_per_megapixel=3_000),
    "fal-ai/flux/dev": Endpoint(steps=28, micro_usd_per_megapixel=25_000),
}
UNKNOWN: Final = Endpoint(steps=None, micro_usd_per_megapixel=None)

# Flux works on blocks of 8 or 16 px and may round a size down. Multiples of 32 survive any of that.
BLOCK_PX: Final = 32
# Below this, what flux draws is a smear; it costs the same, as a started megapixel is a whole one.
MIN_SIDE_PX: Final = 512
MAX_SIDE_PX: Final = 2_048
# fal's published prices per picture are for 1024x1024 and equal its price for one megapixel.
MEGAPIXEL: Final = 1_024 * 1_024


def settings_of(model: str) -> tuple[str, ...]:
    """The fixed parameters that change pixels, sorted.

    `output_format` is not among them: png loses nothing, so it changes none.
    """
    steps = ENDPOINTS.get(model, UNKNOWN).steps
    fixed = ["enable_safety_checker=true"]
    return tuple(fixed if steps is None else [*fixed, f"num_inference_steps={steps}"])


def canvas_of(size: Size) -> Size:
    """A size flux draws well that covers `size`, in its ratio as far as 512 and 2048 px a side allow."""
    scale = max(1.0, min(MIN_SIDE_PX / min(size.width, size.height), MAX_SIDE_PX / max(size.width, size.height)))
    return Size(width=_side(size.width * scale), height=_side(size.height * scale))


def price_of(recipe: Mapping[str, CanonicalValue]) -> int | None:
    """Millionths of a dollar for one picture: started megapixels of the canvas; None for a model without a price.

    $0.003 a megapixel for `fal-ai/flux/schnell`, as read on 2026-11-20; fal rounds megapixels up.
    """
    price = ENDPOINTS.get(str(recipe["model"]), UNKNOWN).micro_usd_per_megapixel
    canvas = canvas_of(asked_size(recipe))
    return None if price is None else price * math.ceil(canvas.width * canvas.height / MEGAPIXEL)


def arguments_of(recipe: Mapping[str, CanonicalValue]) -> dict[str, Any]:
    """The JSON body of the submit. A seed is a number in it, beyond 2^63 as well."""
    canvas = canvas_of(asked_size(recipe))
    arguments: dict[str, Any] = {
        "prompt": recipe["prompt"],
        "image_size": {"width": canvas.width, "height": canvas.height},
        "num_images": 1,
        "enable_safety_checker": True,
        # Lossless: every rendition is made from it, a png with a jpeg's blemishes would be a poor one.
        "output_format": "png",
    }
    steps = ENDPOINTS.get(str(recipe["model"]), UNKNOWN).steps
    if steps is not None:
        arguments["num_inference_steps"] = steps
    if recipe.get("seed"):
        arguments["seed"] = int(str(recipe["seed"]))
    return arguments


def asked_size(recipe: Mapping[str, CanonicalValue]) -> Size:
    """The size the caller asked for, px."""
    return Size(width=int(str(recipe["width"])), height=int(str(recipe["height"])))


def _side(px: float) -> int:
    return max(MIN_SIDE_PX, min(MAX_SIDE_PX, math.ceil(round(px, 6) / BLOCK_PX) * BLOCK_PX))
