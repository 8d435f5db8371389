"""STAND-IN: what it would bill, by a price list and rules of its own.

As the services say, where they say it: fal bills started megapixels, and no job that failed; OpenAI bills tokens. A
picture that was made is billed, whether or not its answer arrives, is fetched, or is a picture anyone would want. What
is refused is not: OpenAI does not say so, and fal says that it may bill a 422 that a machine had worked on.

How many tokens a text has, only OpenAI knows: here six, and one for four bytes. That is less than is estimated, so no
test can take the one for the other. How many a picture takes: those published for 1024x1024, more for more px and
fewer for a longer shape, as OpenAI's calculator has it but for its rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGAPIXEL = 1024 * 1024
# Tokens of 1024x1024, by quality.
TOKENS = {
    "gpt-image-2": {"low": 196, "medium": 1_756, "high": 7_024},
    "gpt-image-2.5-flare": {"low": 196, "medium": 439, "high": 1_756},
}
# Millionths of a dollar for one of each unit.
PRICES: Mapping[str, Mapping[str, int]] = {
    "fal-ai/flux/schnell": {"megapixels": 3_000},
    "fal-ai/flux/dev": {"megapixels": 25_000},
    "fal-ai/birefnet/v2": {"compute_seconds": 800},
    "fal-ai/bria/background/remove": {"pictures": 18_000},
    "fal-ai/seedvr/upscale/image": {"megapixels": 1_000},
    "fal-ai/esrgan": {"compute_seconds": 1_110},
    "fal-ai/codeformer": {"megapixels": 2_100},
    "gpt-image-2": {"text_tokens": 5, "image_tokens": 8, "output_tokens": 30},
    "gpt-image-2.5-flare": {"text_tokens": 5, "image_tokens": 8, "output_tokens": 30},
}


def megapixels(width: int, height: int) -> dict[str, int]:
    """What fal counts."""
    return {"megapixels": started(width * height, MEGAPIXEL)}


def tokens(model: str, quality: str, width: int, height: int, prompt: str) -> dict[str, int]:
    """What OpenAI counts; a model nobody knows draws as `gpt-image-2.5-flare` does."""
    standard = TOKENS.get(model, TOKENS["gpt-image-2.5-flare"]).get(quality, 439)
    shorter, longer = sorted((width, height))
    drawn = standard * shorter * (2_000_000 + width * height) // (longer * (2_000_000 + MEGAPIXEL))
    return {"text_tokens": 6 + started(len(prompt.encode()), 4), "image_tokens": 0, "output_tokens": drawn}


def charge(model: str, usage: Mapping[str, int]) -> int:
    """In millionths of a dollar; models without a price here are free."""
    prices = PRICES.get(model, {})
    return sum(count * prices.get(unit, 0) for unit, count in usage.items())


def started(amount: int, unit: int) -> int:
    """Each started unit is a whole one."""
    return -(-amount // unit)
