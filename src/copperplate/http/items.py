"""Items: what one member of a JSON body asks for, reduced to keys and to the address of the form asked for.

Types are those of JSON: a number in quotes is refused, as it would be by whoever reads the body next. A member that is
null counts as absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from copperplate.errors import (
    InvalidBody,
    InvalidDisplay,
    InvalidFormat,
    InvalidModel,
    InvalidSeed,
    InvalidSize,
    InvalidText,
    UnknownParameter,
)
from copperplate.http.display import AUTO, display_path, image_path, kept_path
from copperplate.http.parameters import refuse_unknown_members
from copperplate.model import PictureFormat
from copperplate.recipes.display import DISPLAY_NAMES, parse_display
from copperplate.recipes.image import MAX_SEED, image_request, parse_format, rendition_key
from copperplate.recipes.kinds import IMAGE, MEMOJI
from copperplate.recipes.memoji import FIELDS, memoji_request
from copperplate.recipes.models import model_parameters
from copperplate.recipes.text import fold_text
from copperplate.wishes import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.errors import InvalidRequest
    from copperplate.model import PictureRequest, Rendition
    from copperplate.services import Services

DEFAULT_SIDE_PX: Final = 1_024
MAX_ECHO_CHARS: Final = 200
# What a caller is told again in answers and events.
ECHO_NAMES: Final = ("thread_id", "style", "title")
PRIORITIES: Final[Mapping[str, Priority]] = {each.name.lower(): each for each in Priority}
_TEXT_NAMES: Final = ("prompt", "text")
_SIZE_NAMES: Final = ("dimensions", "size")
_COMMON: Final = ("kind", "priority", *ECHO_NAMES, "format", *DISPLAY_NAMES)
# By kind: what an item may hold.
MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    IMAGE.name: (*_COMMON, *_TEXT_NAMES, "width", "height", *_SIZE_NAMES, "model", "seed"),
    MEMOJI.name: (*_COMMON, *FIELDS),
}
# Members that stand elsewhere, and what is said of them here.
_OF_BATCHES: Final[Mapping[str, str]] = {
    "items": "items stands in the body itself, and no item has items. Nothing was done.",
    "n": 'n is for the items of a batch alone: {"items": [{"prompt": "a fox", "n": 3}]}. Nothing was done.',
}
_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_UNKEPT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_NOUNS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number with a fraction or an exponent",
    str: "a string",
    list: "an array",
    dict: "an object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One picture that a body asks for.

    `paths` are path and query of the form asked for, which `shown` is. `echo` is what the caller sent to be told again,
    `priority` None where they said nothing of it. `ignored` are the names of display members that made no difference.
    """

    picture_request: PictureRequest
    paths: tuple[str, ...] = field(repr=False)  # holds the prompt
    shown: Rendition
    echo: Mapping[str, str] = field(default_factory=dict, repr=False)
    priority: Priority | None = None
    ignored: tuple[str, ...] = ()


class _Read(NamedTuple):
    picture_request: PictureRequest
    path: str
    shown: Rendition
    ignored: tuple[str, ...]


def read_item(body: object, services: Services) -> Item:
    """The item that a JSON object is; its kind is `image` unless it says another.

    Raises the `InvalidRequest` that a picture's URL, or a memoji's configuration, has for the same fault;
    `UnknownParameter` for members nobody knows, which it names; `InvalidBody` for what has no error of its own;
    `Misconfigured` where nobody makes this kind.
    """
    if not isinstance(body, dict):
        raise InvalidBody(f"An item is a JSON object, not {_noun(body)}.")
    given = {name: value for name, value in body.items() if value is not None}
    kind = _kind_of(given)
    for name in _OF_BATCHES.keys() & given.keys():
        raise UnknownParameter(_OF_BATCHES[name])
    refuse_unknown_members(given, MEMBERS[kind])
    echo, priority = _echo_of(given), _priority_of(given)
    read = _READERS[kind](given, services)
    return Item(
        picture_request=read.picture_request,
        paths=(read.path,),
        shown=read.shown,
        echo=echo,
        priority=priority,
        ignored=read.ignored,
    )


def read_echo(body: Mapping[str, Any], name: str) -> str | None:
    """What a caller sent under `name` to be told again; None where they did not. Raises `InvalidBody`."""
    value = _text_of(body, name, InvalidBody)
    if value is not None and (len(value) > MAX_ECHO_CHARS or _UNKEPT.search(value)):
        raise InvalidBody(f"{name} may have at most {MAX_ECHO_CHARS} characters, none of them a control character.")
    return value


def _kind_of(given: Mapping[str, Any]) -> str:
    kind = _text_of(given, "kind", InvalidBody)
    if kind is None:
        return IMAGE.name
    if kind not in MEMBERS:
        raise InvalidBody(f"kind may be {' or '.join(MEMBERS)}.")
    return kind


def _echo_of(given: Mapping[str, Any]) -> dict[str, str]:
    told = {name: read_echo(given, name) for name in ECHO_NAMES}
    return {name: value for name, value in told.items() if value is not None}


def _priority_of(given: Mapping[str, Any]) -> Priority | None:
    name = _text_of(given, "priority", InvalidBody)
    if name is None:
        return None
    if name not in PRIORITIES:
        raise InvalidBody(f"priority may be {' or '.join(PRIORITIES)}.")
    return PRIORITIES[name]


def _read_image(given: Mapping[str, Any], services: Services) -> _Read:
    provider = services.provider_of(IMAGE.name)
    width, height = _sides_of(given)
    model = _text_of(given, "model", InvalidModel)
    named = _text_of(given, "format", InvalidFormat) or PictureFormat.JPG.value
    picture_format = PictureFormat.JPG if named == AUTO else parse_format(named)
    picture_request = image_request(
        prompt=_prompt_of(given),
        width=width,
        height=height,
        format=picture_format,
        model=provider.models[0] if model is None else model,
        seed=_seed_of(given),
        settings=model_parameters(provider, provider.models[0] if model is None else model),
    )
    values = _display_of(given)
    display = parse_display(values, picture_request.canvas, picture_format)
    picture_request = replace(
        picture_request,
        rendition=display.rendition,
        rendition_key=rendition_key(picture_request.generation_key, display.rendition),
    )
    path = image_path(values, picture_request, model=model, picture_format=AUTO if named == AUTO else picture_format)
    return _Read(picture_request, path, display.rendition, display.ignored)


def _read_memoji(given: Mapping[str, Any], services: Services) -> _Read:
    configuration = {name: value for name, value in given.items() if name in FIELDS}
    picture_request = memoji_request(configuration, provider=services.provider_of(MEMOJI.name))
    values = _display_of(given)
    if (named := _text_of(given, "format", InvalidFormat)) is not None:
        values["format"] = named
    shown = display_path(values, picture_request)
    if shown is None:
        return _Read(picture_request, kept_path(picture_request.generation_key), picture_request.rendition, ())
    return _Read(picture_request, shown.path, shown.rendition, shown.ignored)


def _sides_of(given: Mapping[str, Any]) -> tuple[int, int]:
    """The canvas, said once: by its two sides, or in one word."""
    sides = [name for name in ("width", "height") if name in given]
    words = [name for name in _SIZE_NAMES if name in given]
    if len(words) + bool(sides) > 1:
        raise InvalidSize(f"The size is there more than once: {', '.join(sides + words)}. Give it once.")
    if words:
        return _sides_in(given, words[0])
    if len(sides) == 1:
        raise InvalidSize(f"{sides[0]} is there alone. Give width and height, or neither: {DEFAULT_SIDE_PX} each.")
    width, height = (_number_of(given, name, InvalidSize) for name in ("width", "height"))
    return (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX) if width is None or height is None else (width, height)


def _sides_in(given: Mapping[str, Any], name: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(_text_of(given, name, InvalidSize) or "")
    if found is None:
        raise InvalidSize(f'{name} is not a size. Write it as "1024x768": plain digits, a lower-case x.')
    return int(found[1]), int(found[2])


def _prompt_of(given: Mapping[str, Any]) -> str:
    texts = [text for name in _TEXT_NAMES if (text := _text_of(given, name, InvalidText)) is not None]
    if not any(text.strip() for text in texts):
        raise InvalidText(
            'There is no text, or it is empty. Describe the picture, as in {"prompt": "A beautiful sunset"}.'
        )
    if len(texts) > 1 and fold_text(texts[0]) != fold_text(texts[1]):
        raise InvalidBody("prompt and text say different things. Give one of them; text is another name for prompt.")
    return texts[0]


def _seed_of(given: Mapping[str, Any]) -> str:
    """The digits of a seed. JSON's numbers are not exact above 2^53 everywhere, so a string of digits is one too."""
    seed = given.get("seed", "")
    if isinstance(seed, str) and (seed or "seed" not in given):
        return seed
    if isinstance(seed, int) and not isinstance(seed, bool):
        return str(seed)
    raise InvalidSeed(f"seed is {_noun(seed)}. Give a whole number from 0 to {MAX_SEED}, or its digits in a string.")


def _display_of(given: Mapping[str, Any]) -> dict[str, str]:
    """The display members as a picture's query would hold them."""
    fit = _text_of(given, "fit", InvalidDisplay)
    numbers = {name: _number_of(given, name, InvalidDisplay) for name in DISPLAY_NAMES if name != "fit"}
    values = {name: fit if name == "fit" else numbers[name] for name in DISPLAY_NAMES}
    return {name: str(value) for name, value in values.items() if value is not None}


def _number_of(given: Mapping[str, Any], name: str, fault: type[InvalidRequest]) -> int | None:
    value = given.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise fault(f"{name} is {_noun(value)}. Give a whole number, without quotes and without a fraction.")


def _text_of(given: Mapping[str, Any], name: str, fault: type[InvalidRequest]) -> str | None:
    value = given.get(name)
    if value is None or isinstance(value, str):
        return value
    raise fault(f"{name} is {_noun(value)}. Give a string.")


def _noun(value: object) -> str:
    return "null" if value is None else _NOUNS[type(value)]


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Services], _Read]]] = {
    IMAGE.name: _read_image,
    MEMOJI.name: _read_memoji,
}
