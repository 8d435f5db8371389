"""What a provider needs to know of a recipe, whatever kind of picture it is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from copperplate.model import Size
from copperplate.recipes.memoji_words import describe
from copperplate.recipes.processed import UNKNOWN_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInput:
    """What to draw, at which size in px; `background` (auto, opaque, transparent) only where the recipe says one.

    `seed` is empty or a whole number in decimal.
    """

    prompt: str = field(repr=False)
    size: Size
    model: str
    background: str | None = None
    seed: str = ""


def of_image(recipe: Mapping[str, CanonicalValue]) -> ProviderInput:
    """What the canonical recipe of an image asks for."""
    return ProviderInput(
        prompt=str(recipe["prompt"]),
        size=size_of(recipe),
        model=str(recipe["model"]),
        seed=str(recipe.get("seed", "")),
    )


def of_memoji(recipe: Mapping[str, CanonicalValue]) -> ProviderInput:
    """What the canonical recipe of a memoji asks for, put in words."""
    return ProviderInput(
        prompt=describe(recipe),
        size=size_of(recipe),
        model=str(recipe["model"]),
        background=str(recipe["background"]),
    )


def of_processed(recipe: Mapping[str, CanonicalValue]) -> ProviderInput:
    """What the canonical recipe of a processed picture asks for: its source picture says the rest."""
    return ProviderInput(prompt="", size=UNKNOWN_SIZE, model=str(recipe["model"]))


def size_of(recipe: Mapping[str, CanonicalValue]) -> Size:
    """The size a canonical recipe asks for, px."""
    width, height = str(recipe["size"]).split("x") if "size" in recipe else (recipe["width"], recipe["height"])
    return Size(width=int(str(width)), height=int(str(height)))
