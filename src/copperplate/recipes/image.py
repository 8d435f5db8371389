"""A picture asked for by text and size, and the forms it is served in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from copperplate.errors import (
    CopperplateError,
    InvalidFormat,
    InvalidModel,
    InvalidRequest,
    InvalidSeed,
    InvalidSize,
    InvalidText,
    Misconfigured,
)
from copperplate.model import PictureFormat, PictureRequest, Rendition, Size
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.display import DEFAULT_QUALITY, default_rendition
from copperplate.recipes.text import fold_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.model import CanonicalRecipe

MIN_SIDE_PX: Final = 64
MAX_SIDE_PX: Final = 2_048
MAX_SEED: Final = 2**64 - 1
DEFAULT_MODEL: Final = "fal-ai/flux/schnell"
# Providers say their own settings; these are what SQL and `explain` assume where nobody asks one.
STANDARD_SETTINGS: Final = {DEFAULT_MODEL: ("enable_safety_checker=true", "num_inference_steps=4")}

_SHOWN: Final = 24  # characters of a wrong value that a message repeats
_MODEL = re.compile(r"[!-~]{1,200}")
_SEED = re.compile(r"[0-9]{1,1000}")
_SETTING = re.compile(r"([a-z][a-z0-9_]*)=[ -~]*")
_FORMATS = {"jpeg": PictureFormat.JPG, **{known.value: known for known in PictureFormat}}


def _check_side(side: int) -> int:
    if not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
        message = f"A side of {_shorten(str(side))} is not offered: {MIN_SIDE_PX} to {MAX_SIDE_PX:,} pixels."
        raise InvalidSize(message)
    return side


def _check_model(model: str) -> str:
    if _MODEL.fullmatch(model) is None:
        message = "A model's name has 1 to 200 ASCII characters and no spaces."
        raise InvalidModel(message)
    return model


def _canonical_seed(seed: str) -> str:
    if not seed:
        return seed
    digits = (seed.lstrip("0") or "0") if _SEED.fullmatch(seed) else ""
    if not digits or len(digits) > len(str(MAX_SEED)) or int(digits) > MAX_SEED:
        message = f"The seed {_shorten(seed)!r} is not a whole number from 0 to {MAX_SEED} in plain digits."
        raise InvalidSeed(message)
    return digits


def _canonical_settings(settings: tuple[str, ...]) -> tuple[str, ...]:
    """Sorted, each once. A fault here is the provider adapter's, never the caller's."""
    unique = sorted(set(settings))
    names = [found[1] for name in unique if (found := _SETTING.fullmatch(name))]
    if len(names) != len(unique) or len(set(names)) != len(names):
        message = "A model's settings are name=value in ASCII, and name nothing twice."
        raise Misconfigured(message)
    return tuple(unique)


Prompt = Annotated[str, AfterValidator(fold_text)]
SidePx = Annotated[int, AfterValidator(_check_side)]
ModelName = Annotated[str, AfterValidator(_check_model)]
Seed = Annotated[str, AfterValidator(_canonical_seed)]
Settings = Annotated[tuple[str, ...], AfterValidator(_canonical_settings)]


class ImageRecipe(BaseModel):
    """What decides a picture's pixels. Construction normalises; equal recipes are equal pictures.

    `prompt` is folded text, `width` and `height` are 64 to 2048 px, `seed` is "" (any) or 0 to
    2^64 - 1 in decimal, `settings` are the provider's fixed parameters as sorted `name=value`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    prompt: Prompt = Field(repr=False)  # may be private; reprs end up in logs
    width: SidePx
    height: SidePx
    model: ModelName
    seed: Seed = ""
    settings: Settings = ()

    def __init__(self, **fields: object) -> None:
        """Raise `InvalidText`, `InvalidSize`, `InvalidModel`, `InvalidSeed` or `Misconfigured`."""
        try:
            super().__init__(**fields)
        except ValidationError as exc:
            raise _translate(exc) from exc

    def canonical(self) -> CanonicalRecipe:
        """The canonical form, version 1: every field present, `kind` and `v` beside them."""
        return {
            "height": self.height,
            "kind": "image",
            "model": self.model,
            "prompt": self.prompt,
            "seed": self.seed,
            "settings": list(self.settings),
            "v": 1,
            "width": self.width,
        }


def image_request(  # noqa: PLR0913 - these are the recipe's fields and its rendition's
    *,
    prompt: str,
    width: int,
    height: int,
    format: PictureFormat,  # noqa: A002 - one idea, one word
    model: str,
    seed: str = "",
    settings: Iterable[str] = (),
    rendition: Rendition | None = None,
) -> PictureRequest:
    """Reduce raw parts of a request to keys; sizes in px. Without a `rendition` it is the canvas at the usual quality.

    Raises `InvalidText`, `InvalidSize`, `InvalidModel`, `InvalidSeed`, or `Misconfigured` for
    settings that are not `name=value`.
    """
    recipe = ImageRecipe(prompt=prompt, width=width, height=height, model=model, seed=seed, settings=tuple(settings))
    canonical = recipe.canonical()
    generation_key = cache_key(canonical)
    rendition = rendition or default_rendition(format)
    return PictureRequest(
        kind="image",
        recipe=canonical,
        generation_key=generation_key,
        rendition_key=rendition_key(generation_key, rendition),
        rendition=rendition,
        canvas=Size(width=recipe.width, height=recipe.height),
    )


def standard_settings(model: str) -> tuple[str, ...]:
    """The settings `public.image_cache_key` assumes for a model; none for one it does not know."""
    return STANDARD_SETTINGS.get(model, ())


def parse_format(name: str) -> PictureFormat:
    """The format of that name; `jpeg` means jpg. Lower case only. Raises `InvalidFormat`."""
    if (found := _FORMATS.get(name)) is None:
        offered = "jpg, jpeg, png, webp, avif or auto"
        message = f"The format {_shorten(name)!r} is not offered: write {offered}, in lower case."
        raise InvalidFormat(message)
    return found


def rendition_recipe(generation_key: str, rendition: Rendition) -> CanonicalRecipe:
    """The rendition's own canonical recipe; png has no quality, so its recipe has none, nor has the canvas a size."""
    recipe: CanonicalRecipe = {
        "format": rendition.format.value,
        "generation": generation_key,
        "kind": "rendition",
        "v": 1,
    }
    if rendition.format is not PictureFormat.PNG:
        recipe["quality"] = DEFAULT_QUALITY if rendition.quality is None else rendition.quality
    if rendition.size is not None:
        recipe |= {"height": rendition.size.height, "width": rendition.size.width}
    return recipe


def rendition_key(generation_key: str, rendition: Rendition) -> str:
    """The key of one rendition of a generation."""
    return cache_key(rendition_recipe(generation_key, rendition))


_FAULT_BY_FIELD: Final[dict[object, type[CopperplateError]]] = {
    "prompt": InvalidText,
    "width": InvalidSize,
    "height": InvalidSize,
    "model": InvalidModel,
    "seed": InvalidSeed,
    "settings": Misconfigured,
}


def _translate(fault: ValidationError) -> CopperplateError:
    """Only types fail inside pydantic: every rule of ours raises its own error through it."""
    first = fault.errors(include_url=False, include_context=False, include_input=False)[0]
    field = next(iter(first["loc"]), "recipe")
    return _FAULT_BY_FIELD.get(field, InvalidRequest)(f"{field}: {first['msg']}")


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
