"""What pictures cost: one table, dated, in whole millionths of a dollar. Pure.

A price that is not here is not known, and nobody pretends it is zero. Raise `VERSION` with every change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import Size

VERSION: Final = 1
# When they were read, from litellm 1.109.1's price map and fal's catalogue as it quotes it; not checked against a bill.
AS_OF: Final = date(2026, 11, 20)

MICRO: Final = 1_000_000
MEGAPIXEL: Final = 1_024 * 1_024
# What a hit counts as saved where its picture has no price: the figure people were promised before there was a table.
FALLBACK_SAVING_MICRO_USD: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """Millionths of a dollar for one token, which is the dollars for a million of them."""

    text_in: int
    image_in: int
    out: int


# fal bills started megapixels; its prices for a picture are those of 1024x1024, which is one.
MICRO_USD_PER_MEGAPIXEL: Final[Mapping[str, int]] = {
    "fal-ai/flux/schnell": 3_000,
    "fal-ai/flux/dev": 25_000,
    "fal-ai/flux-2": 12_000,
}
TOKEN_PRICES: Final[Mapping[str, TokenPrice]] = {
    "gpt-image-2": TokenPrice(text_in=5, image_in=8, out=30),
    "gpt-image-2.5-flare": TokenPrice(text_in=5, image_in=8, out=30),
    "gpt-image-2.5-sunburst": TokenPrice(text_in=5, image_in=8, out=30),
}
# Of one 1024x1024 picture, by model and quality, its prompt not counted.
PICTURE_PRICES: Final[Mapping[tuple[str, str], int]] = {
    ("gpt-image-2", "low"): 6_000,
    ("gpt-image-2", "medium"): 53_000,
    ("gpt-image-2", "high"): 211_000,
    ("gpt-image-2.5-flare", "low"): 6_000,
    ("gpt-image-2.5-flare", "medium"): 13_000,
    ("gpt-image-2.5-flare", "high"): 53_000,
}
# English takes about four bytes to a token; half of that is enough for most texts.
BYTES_PER_TOKEN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One line of the table, for people: a `micro_usd` price for one `unit`."""

    provider: str
    model: str
    unit: str
    micro_usd: int


def estimate_megapixels(model: str, canvas: Size) -> int | None:
    """What fal will ask for one picture of this size in px; None for a model without a price."""
    price = MICRO_USD_PER_MEGAPIXEL.get(model)
    return None if price is None else price * math.ceil(canvas.width * canvas.height / MEGAPIXEL)


def cost_of_units(model: str, usage: Mapping[str, int]) -> int | None:
    """What fal's report costs: `micro_units`, millionths of a megapixel, rounded up to a millionth of a dollar."""
    price, units = MICRO_USD_PER_MEGAPIXEL.get(model), usage.get("micro_units")
    return None if price is None or units is None else -(-price * units // MICRO)


def estimate_tokens(model: str, quality: str, canvas: Size, prompt: str) -> int | None:
    """What OpenAI will ask for one 1024x1024 picture, its prompt counted generously.

    None for other sizes, whose tokens only the answer tells, and for a model without a price.
    """
    picture, tokens = PICTURE_PRICES.get((model, quality)), TOKEN_PRICES.get(model)
    if picture is None or tokens is None or canvas.width * canvas.height != MEGAPIXEL:
        return None
    return picture + tokens.text_in * math.ceil(len(prompt.encode()) / BYTES_PER_TOKEN)


def cost_of_tokens(model: str, usage: Mapping[str, int]) -> int | None:
    """What OpenAI's report costs: `text_in`, `image_in` and `out` tokens. None for a model without a price."""
    price = TOKEN_PRICES.get(model)
    if price is None or not usage:
        return None
    counts = (usage.get("text_in", 0), usage.get("image_in", 0), usage.get("out", 0))
    return price.text_in * counts[0] + price.image_in * counts[1] + price.out * counts[2]


def rows() -> list[PriceRow]:
    """The whole table, in order."""
    megapixels = [
        PriceRow(provider="fal", model=model, unit="started megapixel", micro_usd=price)
        for model, price in MICRO_USD_PER_MEGAPIXEL.items()
    ]
    pictures = [
        PriceRow(provider="openai", model=model, unit=f"1024x1024 picture, {quality}", micro_usd=price)
        for (model, quality), price in PICTURE_PRICES.items()
    ]
    tokens = [
        PriceRow(provider="openai", model=model, unit=unit, micro_usd=micro_usd)
        for model, price in TOKEN_PRICES.items()
        for unit, micro_usd in (
            ("token of text read", price.text_in),
            ("token of image read", price.image_in),
            ("token drawn", price.out),
        )
    ]
    return [*megapixels, *pictures, *tokens, PriceRow(provider="painter", model="any", unit="picture", micro_usd=0)]
