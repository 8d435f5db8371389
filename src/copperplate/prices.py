"""What pictures cost: one table, dated, in whole millionths of a dollar. Pure; no fraction is ever a float.

A price that is not here is not known, and nobody pretends it is zero. Raise `VERSION` and `AS_OF` with every change;
a test holds the table's digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from copperplate.model import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 2
# When they were read; none was checked against a bill.
AS_OF: Final = date(2026, 11, 30)

MICRO: Final = 1_000_000
# fal bills started megapixels and does not say of how many px. Those who quote a price for 1024x1024 count one.
MEGAPIXEL: Final = 1_024 * 1_024

LITELLM: Final = "litellm 1.109.1"
FAL_PAGE: Final = "fal's page of the model"
FAL_QUOTED: Final = "fal's price list, as others quote it"
FAL_LISTED: Final = "fal's price list, as others quote it; $0 on fal's page is an unknown price"
OPENAI_TOKENS: Final = "OpenAI's calculator of tokens, as its forum quotes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrice:
    """Millionths of a dollar for one megapixel, and who says so."""

    micro_usd: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """Millionths of a dollar for one token, which is the dollars for a million of them."""

    text_in: int
    image_in: int
    out: int


class ProcessingUnit(StrEnum):
    """What processing a picture is billed by."""

    PICTURE = "picture"
    RESULT_MEGAPIXEL = "started megapixel of the result"
    COMPUTE_SECOND = "compute second"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingPrice:
    """Millionths of a dollar for one unit, and who says so. Of compute seconds `most_seconds` are reserved."""

    micro_usd: int
    unit: ProcessingUnit
    source: str
    most_seconds: int = 0


MEGAPIXEL_PRICES: Final[Mapping[str, UnitPrice]] = {
    "fal-ai/flux/schnell": UnitPrice(micro_usd=3_000, source=FAL_PAGE),
    "fal-ai/flux/dev": UnitPrice(micro_usd=25_000, source=FAL_PAGE),
    "fal-ai/flux-2": UnitPrice(micro_usd=12_000, source=FAL_QUOTED),
}
# By endpoint of fal; `adapters/fal/endpoints.py` has the rest of each.
PROCESSING_PRICES: Final[Mapping[str, ProcessingPrice]] = {
    "fal-ai/birefnet/v2": ProcessingPrice(
        micro_usd=800, unit=ProcessingUnit.COMPUTE_SECOND, source=FAL_LISTED, most_seconds=30
    ),
    "fal-ai/bria/background/remove": ProcessingPrice(micro_usd=18_000, unit=ProcessingUnit.PICTURE, source=FAL_QUOTED),
    "fal-ai/seedvr/upscale/image": ProcessingPrice(
        micro_usd=1_000, unit=ProcessingUnit.RESULT_MEGAPIXEL, source=FAL_PAGE
    ),
    "fal-ai/esrgan": ProcessingPrice(
        micro_usd=1_110, unit=ProcessingUnit.COMPUTE_SECOND, source=FAL_QUOTED, most_seconds=60
    ),
    "fal-ai/codeformer": ProcessingPrice(micro_usd=2_100, unit=ProcessingUnit.RESULT_MEGAPIXEL, source=FAL_QUOTED),
}
TOKEN_PRICES: Final[Mapping[str, TokenPrice]] = {
    "gpt-image-2": TokenPrice(text_in=5, image_in=8, out=30),
    "gpt-image-2.5-flare": TokenPrice(text_in=5, image_in=8, out=30),
    "gpt-image-2.5-sunburst": TokenPrice(text_in=5, image_in=8, out=30),
}
# How many patches a quality draws along the longer side; `drawn_tokens` makes tokens of them.
_PATCHES_2: Final[Mapping[str, int]] = {"low": 16, "medium": 48, "high": 96}
_PATCHES_2_5: Final[Mapping[str, int]] = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}
PATCHES: Final[Mapping[str, Mapping[str, int]]] = {
    "gpt-image-2": _PATCHES_2,
    "gpt-image-2.5-flare": _PATCHES_2_5,
    "gpt-image-2.5-sunburst": _PATCHES_2_5,
}
# A patch takes half a token, and another quarter for each megapixel (of a million px) of the picture.
_PATCH_PX: Final = 2 * MICRO
_TOKEN_PX: Final = 4 * MICRO
# English takes about four bytes to a token; half of that is enough for most texts. Around each prompt OpenAI counts six
# tokens of its own: real answers tell 12 for 22 bytes, and 10 for 13.
BYTES_PER_TOKEN: Final = 2
TOKENS_AROUND_PROMPT: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One line of the table, for people: a `micro_usd` price for one `unit`, and the `source` it was read from."""

    provider: str
    model: str
    unit: str
    micro_usd: int
    source: str


def dollars(micro_usd: int) -> str:
    """An amount for people, exact, with two digits at least: `$0.003`, `$0.000005`, `$2.50`, `-$0.01`."""
    whole, millionths = divmod(abs(micro_usd), MICRO)
    cents, rest = divmod(millionths, MICRO // 100)
    return f"{'-' if micro_usd < 0 else ''}${whole}.{cents:02d}{f'{rest:04d}'.rstrip('0')}"


def estimate_megapixels(model: str, canvas: Size) -> int | None:
    """What fal will ask for one picture of this size in px; None for a model without a price."""
    price = MEGAPIXEL_PRICES.get(model)
    return None if price is None else price.micro_usd * _up(canvas.width * canvas.height, MEGAPIXEL)


def cost_of_units(model: str, usage: Mapping[str, int]) -> int | None:
    """What fal's report costs: `micro_units`, millionths of a megapixel, rounded up to a millionth of a dollar."""
    price, units = MEGAPIXEL_PRICES.get(model), usage.get("micro_units")
    return None if price is None or units is None else _up(price.micro_usd * units, MICRO)


def estimate_processing(price: ProcessingPrice, result_px: int) -> int:
    """What fal will ask for a processed picture of so many px; of compute seconds, for as many as are reserved."""
    match price.unit:
        case ProcessingUnit.PICTURE:
            return price.micro_usd
        case ProcessingUnit.RESULT_MEGAPIXEL:
            return price.micro_usd * _up(result_px, MEGAPIXEL)
        case ProcessingUnit.COMPUTE_SECOND:
            return price.micro_usd * price.most_seconds


def cost_of_processing(price: ProcessingPrice, usage: Mapping[str, int]) -> int | None:
    """What fal's report costs: `micro_units`, millionths of the unit of the price. None where it told nothing."""
    units = usage.get("micro_units")
    return None if units is None else _up(price.micro_usd * units, MICRO)


def drawn_tokens(model: str, quality: str, canvas: Size) -> int | None:
    """How many tokens OpenAI draws for one picture of this size in px; None for a model or quality it is not known of.

    By OpenAI's own calculator. It gave what a real answer of gpt-image-2 billed (120 tokens, 1536x864, low), and the
    published tokens of gpt-image-2.5-flare in its five qualities at 1024x1024.
    """
    patches = PATCHES.get(model, {}).get(quality)
    if patches is None:
        return None
    longer, shorter = max(canvas.width, canvas.height), min(canvas.width, canvas.height)
    across = (2 * patches * shorter + longer) // (2 * longer)  # to the nearest whole patch
    return _up(patches * across * (_PATCH_PX + canvas.width * canvas.height), _TOKEN_PX)


def estimate_tokens(model: str, quality: str, canvas: Size, prompt: str) -> int | None:
    """What OpenAI will ask for one picture of this size in px, its prompt counted generously.

    None for a model without a price, and for a quality it does not have.
    """
    price, drawn = TOKEN_PRICES.get(model), drawn_tokens(model, quality, canvas)
    if price is None or drawn is None:
        return None
    return price.out * drawn + price.text_in * prompt_tokens(prompt)


def prompt_tokens(prompt: str) -> int:
    """How many tokens OpenAI will read at most, for most texts."""
    return TOKENS_AROUND_PROMPT + _up(len(prompt.encode()), BYTES_PER_TOKEN)


def cost_of_tokens(model: str, usage: Mapping[str, int]) -> int | None:
    """What OpenAI's report costs: `text_in`, `image_in` and `out` tokens.

    None for a model without a price, and for a report without `out`, which speaks of no picture. Text that OpenAI
    had cached costs less there; it caches none as short as ours.
    """
    price, drawn = TOKEN_PRICES.get(model), usage.get("out")
    if price is None or drawn is None:
        return None
    return price.text_in * usage.get("text_in", 0) + price.image_in * usage.get("image_in", 0) + price.out * drawn


def dearest_micro_usd(provider: str, canvas: Size, prompt: str) -> int:
    """What a picture of this size costs at the dearest known model of a provider; of all, for one without prices.

    It stands for the price of a model that is not in the table: never zero.
    """
    megapixels = max(estimate_megapixels(model, canvas) or 0 for model in MEGAPIXEL_PRICES)
    tokens = max(
        estimate_tokens(model, quality, canvas, prompt) or 0 for model in PATCHES for quality in PATCHES[model]
    )
    return {"fal": megapixels, "openai": tokens}.get(provider, max(megapixels, tokens))


def rows() -> list[PriceRow]:
    """The whole table, in order."""
    free = PriceRow(provider="painter", model="any", unit="picture", micro_usd=0, source="it is local")
    return [*_megapixels(), *_processing(), *_pictures(), *_tokens(), free]


def _megapixels() -> list[PriceRow]:
    return [
        PriceRow(provider="fal", model=model, unit="started megapixel", micro_usd=price.micro_usd, source=price.source)
        for model, price in MEGAPIXEL_PRICES.items()
    ]


def _processing() -> list[PriceRow]:
    return [
        PriceRow(provider="fal", model=model, unit=_unit_of(price), micro_usd=price.micro_usd, source=price.source)
        for model, price in PROCESSING_PRICES.items()
    ]


def _unit_of(price: ProcessingPrice) -> str:
    return f"{price.unit}, {price.most_seconds} reserved" if price.most_seconds else price.unit.value


def _pictures() -> list[PriceRow]:
    """Of the standard size, the prompt not counted: what the tokens come to."""
    size = Size(width=1_024, height=1_024)
    return [
        PriceRow(
            provider="openai",
            model=model,
            unit=f"1024x1024 picture, {quality}",
            micro_usd=TOKEN_PRICES[model].out * (drawn_tokens(model, quality, size) or 0),
            source=OPENAI_TOKENS,
        )
        for model, qualities in PATCHES.items()
        for quality in qualities
    ]


def _tokens() -> list[PriceRow]:
    return [
        PriceRow(provider="openai", model=model, unit=unit, micro_usd=micro_usd, source=LITELLM)
        for model, price in TOKEN_PRICES.items()
        for unit, micro_usd in (
            ("token of text read", price.text_in),
            ("token of image read", price.image_in),
            ("token drawn", price.out),
        )
    ]


def _up(amount: int, unit: int) -> int:
    """Started units, each counted as a whole one."""
    return -(-amount // unit)
