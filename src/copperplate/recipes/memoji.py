"""A memoji asked for by a configuration: equal configurations, however they are spelled, have one key.

SQL twin: `public.memoji_cache_key`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from copperplate.errors import CopperplateError, InvalidConfiguration, InvalidText
from copperplate.model import PictureFormat, PictureRequest, Rendition, Size
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.image import MAX_SIDE_PX, MIN_SIDE_PX, ModelName, Settings
from copperplate.recipes.memoji_words import (
    ACCESSORIES,
    BACKGROUNDS,
    COLOR_THEMES,
    FAMILY_TYPES,
    GESTURES,
    HAIR,
    SKIN_TONES,
    TEMPLATE,
)
from copperplate.recipes.models import model_parameters
from copperplate.recipes.objects import original_key
from copperplate.recipes.text import fold_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from copperplate.model import CanonicalRecipe
    from copperplate.ports import Provider

MAX_ACCESSORIES: Final = 6
DEFAULT_SIZE: Final = "1024x1024"

_SIZE: Final = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
# Lower case of A to Z alone, and one joint between words: no locale, no Unicode version has a say.
_SPELLING: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ _", "abcdefghijklmnopqrstuvwxyz--")
# What is said of a provider's fixed settings by the configuration itself.
_CONFIGURED: Final = "background="


def _spell(word: str) -> str:
    """The one spelling of a word: folded as prompts are, lower case, joined by hyphens; empty if it is no text."""
    try:
        return fold_text(word).translate(_SPELLING)
    except InvalidText:
        return ""


def _wrong(message: str) -> PydanticCustomError:
    # Raised through pydantic, which adds the field.
    return PydanticCustomError("memoji", "{message}", {"message": message})


def _one_of(choices: Iterable[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if (spelled := _spell(word)) not in choices:
            raise _wrong("Choose one of " + ", ".join(choices) + ".")
        return spelled

    return check


def _check_size(size: str) -> str:
    spelled = _spell(size)
    found = _SIZE.fullmatch(spelled)
    if found is None or not all(MIN_SIDE_PX <= int(side) <= MAX_SIDE_PX for side in found.groups()):
        raise _wrong(f"Give WIDTHxHEIGHT in pixels, {MIN_SIDE_PX} to {MAX_SIDE_PX} each.")
    return spelled


def _sort_accessories(accessories: tuple[str, ...]) -> tuple[str, ...]:
    """In order, each once: neither order nor repetition makes another picture."""
    unique = sorted(set(accessories))
    if len(unique) > MAX_ACCESSORIES:
        raise _wrong(f"Choose at most {MAX_ACCESSORIES}.")
    return tuple(unique)


def _as_tuple(value: object) -> object:
    # JSON has no tuples, and a strict model takes nothing else for one.
    return tuple(value) if isinstance(value, list) else value


Accessory = Annotated[str, AfterValidator(_one_of(ACCESSORIES))]
Accessories = Annotated[tuple[Accessory, ...], BeforeValidator(_as_tuple), AfterValidator(_sort_accessories)]


class MemojiRecipe(BaseModel):
    """What decides a memoji's pixels. Construction normalises; equal recipes are equal pictures.

    Every field but `model` has a default, which counts as if it had been given. Letter case, white space and the
    order and repetition of accessories make no difference; a field nobody knows is refused, as a typo would else
    silently give another picture.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", alias_generator=to_camel, title="MemojiConfiguration"
    )

    model: ModelName
    size: Annotated[str, AfterValidator(_check_size)] = DEFAULT_SIZE
    family_type: Annotated[str, AfterValidator(_one_of(FAMILY_TYPES))] = "father"
    gesture: Annotated[str, AfterValidator(_one_of(GESTURES))] = "wave"
    hair: Annotated[str, AfterValidator(_one_of(HAIR))] = "short"
    skin_tone: Annotated[str, AfterValidator(_one_of(SKIN_TONES))] = "medium"
    accessories: Accessories = ()
    color_theme: Annotated[str, AfterValidator(_one_of(COLOR_THEMES))] = "pastel-blue"
    background: Annotated[str, AfterValidator(_one_of(BACKGROUNDS))] = "auto"
    settings: Settings = ()

    def __init__(self, /, **fields: Any) -> None:  # a caller may call a field self
        """Null counts as absent, in a field there is. Raise `InvalidConfiguration`, or `InvalidModel`."""
        try:
            super().__init__(
                **{name: value for name, value in fields.items() if value is not None or name not in FIELDS}
            )
        except ValidationError as fault:
            raise _translate(fault) from fault

    def canonical(self) -> CanonicalRecipe:
        """The canonical form, version 1: every field present, the prompts' version beside them."""
        return {
            "accessories": list(self.accessories),
            "background": self.background,
            "colorTheme": self.color_theme,
            "familyType": self.family_type,
            "gesture": self.gesture,
            "hair": self.hair,
            "kind": "memoji",
            "model": self.model,
            "settings": list(self.settings),
            "size": self.size,
            "skinTone": self.skin_tone,
            "template": TEMPLATE,
            "v": 1,
        }


# What a configuration may hold, by its names in JSON.
FIELDS: Final = tuple(to_camel(name) for name in MemojiRecipe.model_fields if name != "settings")


def memoji_request(configuration: Mapping[str, object], *, provider: Provider) -> PictureRequest:
    """Reduce a configuration, as it came in JSON, to keys. Null counts as absent.

    Raises `InvalidConfiguration`, and `InvalidModel` for a model that `provider` does not offer.
    """
    if "settings" in configuration:
        raise InvalidConfiguration("settings: not a field of a memoji.")
    model = configuration.get("model")
    model = provider.models[0] if model is None else model
    # All but the background, which the configuration says.
    parameters = tuple(name for name in model_parameters(provider, model) if not name.startswith(_CONFIGURED))
    return request_of(MemojiRecipe(**{**configuration, "model": model, "settings": parameters}))


def request_of(recipe: MemojiRecipe) -> PictureRequest:
    """A recipe's keys. The finished picture is what is kept, so a memoji is its own original."""
    canonical = recipe.canonical()
    generation_key = cache_key(canonical)
    width, _, height = recipe.size.partition("x")
    return PictureRequest(
        kind="memoji",
        recipe=canonical,
        generation_key=generation_key,
        rendition_key=original_key(generation_key),
        rendition=Rendition(format=PictureFormat.PNG, quality=None),
        canvas=Size(width=int(width), height=int(height)),
    )


def _translate(fault: ValidationError) -> CopperplateError:
    first = fault.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(next(iter(first["loc"]), "configuration"))[:40]
    if first["type"] == "extra_forbidden":
        return InvalidConfiguration(f"{field!r} is not a field of a memoji. Known: {', '.join(FIELDS)}.")
    return InvalidConfiguration(f"{field}: {first['msg'].removesuffix('.')}.")
