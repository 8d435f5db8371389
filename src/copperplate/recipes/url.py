"""The grammar of picture URLs: `/{width}x{height}.{format}?text=...`. Pure; used on every request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from copperplate.errors import InvalidQuery, InvalidSize, InvalidText
from copperplate.model import PictureFormat, Size
from copperplate.recipes.display import DISPLAY_NAMES, PLACEHOLDER_NAME, is_placeholder, parse_display
from copperplate.recipes.image import MAX_SIDE_PX, MIN_SIDE_PX, image_request, parse_format
from copperplate.recipes.text import fold_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from copperplate.model import PictureRequest

MAX_QUERY_BYTES: Final = 16_384
MAX_PARAMETERS: Final = 100
# The ending of a path that leaves the format open.
AUTO: Final = ".auto"

_PICTURE = re.compile(r"/([1-9][0-9]{1,3})x([1-9][0-9]{1,3})\.(jpg|jpeg|png|webp|avif)")

# Paths somebody meant as a picture: two numbers of any kind, or one missing, around a times sign
# of any kind. They deserve an answer that says what to change; everything else is just not ours.
_DIGIT = r"[\d\u00b2\u00b3\u00b9\u2070-\u2079\u2460-\u2473]"
_TIMES = r"[xX*\u00d7\u2715\u2716\u2a2f\u0445\u0425\uff58]"
_NUMBER = rf"(?>[\s+\-\u2212]*{_DIGIT}(?:{_DIGIT}|[,eE_+\-\s]|\.(?={_DIGIT}))*)"
_NEAR_MISS = re.compile(
    rf"/(?:(?P<width>{_NUMBER})(?P<times>{_TIMES})(?:(?P<height>{_NUMBER})|(?![^\W_]))"
    rf"|{_TIMES}{_NUMBER}(?=\.(?i:gif|jpe?g|png|webp|avif|auto)))(?P<rest>.*)",
    re.DOTALL,
)
_SHOWN: Final = 24  # characters of a wrong value that a message repeats
_SIDE = re.compile(r"0|[1-9][0-9]*")
_SIZE_HINT = f"Write the size as /1024x1024.jpg: plain digits, a lower-case x, {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels."

_TEXT_NAMES: Final = ("text", "prompt")
# Who may cause a miss, never which picture: in no key, and never named to anybody.
SIGNATURE_NAMES: Final = ("kid", "exp", "sig")
# Asks for what is stored and nothing else, whatever its value: for links and preloads, which send no header of theirs.
CACHED_NAME: Final = "only-if-cached"
_KNOWN: Final = frozenset(
    {*_TEXT_NAMES, "model", "seed", *SIGNATURE_NAMES, *DISPLAY_NAMES, PLACEHOLDER_NAME, CACHED_NAME}
)
_OF_PICTURES: Final = frozenset({*_TEXT_NAMES, "model", "seed", *DISPLAY_NAMES})
_ORIGIN = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSignature:
    """The parameters of a signed URL as received, decoded and not judged; "" where one of them is absent."""

    key_id: str = ""
    expires: str = ""
    signature: str = field(default="", repr=False)

    def as_query(self) -> str:
        """The parameters as they stand in a query; all their characters are unreserved ones."""
        values = (self.key_id, self.expires, self.signature)
        return "&".join(f"{name}={value}" for name, value in zip(SIGNATURE_NAMES, values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureQuery:
    """What the query says, decoded and otherwise as received; nothing is folded yet.

    `model` and `seed` are "" where they were not given. `display` are the display parameters; `is_placeholder`: the
    placeholder is asked for; `is_cached_only`: nothing may be made for it. `used` and `ignored` are the names of the
    parameters that count and of those that do not, in the order received. Those of a signature are in neither.
    """

    text: str = field(repr=False)  # may be private; reprs end up in logs
    model: str = ""
    seed: str = ""
    display: Mapping[str, str] = field(default_factory=dict)
    is_placeholder: bool = False
    is_cached_only: bool = False
    used: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    signature: UrlSignature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureUrl:
    """A picture's URL: what its query says, and the keys it asks for."""

    query: PictureQuery
    picture_request: PictureRequest


def parse_picture_url(
    path: str, query: bytes, *, default_model: str, model_parameters: Callable[[str], Iterable[str]]
) -> PictureUrl | None:
    """What a URL asks for, from its decoded path and raw query; None: not a picture's path.

    `default_model` is that of a URL that names none, `model_parameters` answers a model's fixed parameters. Raises
    `InvalidRequest` for a URL that was meant as a picture's but is not one.
    """
    if (parsed := parse_picture_path(path)) is None:
        return None
    width, height, picture_format = parsed
    given = parse_picture_query(query)
    display = parse_display(given.display, Size(width=width, height=height), picture_format)
    model = given.model or default_model
    picture_request = image_request(
        prompt=given.text,
        width=width,
        height=height,
        format=picture_format,
        model=model,
        seed=given.seed,
        settings=model_parameters(model),
        rendition=display.rendition,
    )
    without_effect = [name for name in given.used if name in display.ignored]
    if without_effect:
        used = tuple(name for name in given.used if name not in display.ignored)
        given = replace(given, used=used, ignored=(*given.ignored, *without_effect))
    return PictureUrl(query=given, picture_request=picture_request)


def in_format(path: str, picture_format: PictureFormat = PictureFormat.JPG) -> str:
    """The path in this format where it leaves the format open, as it is everywhere else."""
    return f"{path.removesuffix(AUTO)}.{picture_format.value}" if path.endswith(AUTO) else path


def split_url(url: str) -> tuple[str, str]:
    """Path and query of a URL as received; scheme, host and fragment never reach a key."""
    path, _, query = _ORIGIN.sub("", url, count=1).partition("#")[0].partition("?")
    return path, query


def without_signature(query: str) -> str:
    """A query without the parameters of a signature, else as it is."""
    parts = query.split("&")
    return "&".join(
        part for part in parts if parameter_name(part.encode(errors="surrogatepass")) not in SIGNATURE_NAMES
    )


def plain_query(query: bytes) -> str:
    """What a query says of the picture and its form, as it was sent: without who asks, and without what is ignored."""
    parts = [part for part in query.split(b"&") if parameter_name(part) in _OF_PICTURES]
    return quote(b"&".join(parts), safe="%&=+!$'()*,/:;?@")


def parse_picture_path(path: str) -> tuple[int, int, PictureFormat] | None:
    """Width and height in px and the format, from a percent-decoded path; None: not a picture's path.

    Raises `InvalidSize` or `InvalidFormat` for a path that was meant as a picture's but is not one.
    """
    if found := _PICTURE.fullmatch(path):
        width, height = int(found[1]), int(found[2])
        if MIN_SIDE_PX <= width <= MAX_SIDE_PX and MIN_SIDE_PX <= height <= MAX_SIDE_PX:
            return width, height, parse_format(found[3])
    if near := _NEAR_MISS.fullmatch(path):
        _require_size(near)
        ending = near["rest"]
        parse_format(ending[1:] if ending.startswith(".") else "")
    return None


def _require_size(near: re.Match[str]) -> None:
    """Say which part of the size is wrong, if one is."""
    if near["width"] is None or near["height"] is None:
        message = f"The size lacks a side. {_SIZE_HINT}"
        raise InvalidSize(message)
    if near["times"] != "x":
        message = f"{near['times']!r} is not a lower-case x. {_SIZE_HINT}"
        raise InvalidSize(message)
    for side in (near["width"], near["height"]):
        if _SIDE.fullmatch(side) is None:
            message = f"{side[:_SHOWN]!r} is not a plain number. {_SIZE_HINT}"
            raise InvalidSize(message)
        if len(side) > len(str(MAX_SIDE_PX)) or not MIN_SIDE_PX <= int(side) <= MAX_SIDE_PX:
            message = f"A side of {side[:_SHOWN]} pixels is not offered. {_SIZE_HINT}"
            raise InvalidSize(message)


def read_parameters(query: bytes, known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The decoded values of known parameters, and the names of the others, both in the order received.

    Raises `InvalidQuery` as `parse_picture_query` does.
    """
    if len(query) > MAX_QUERY_BYTES:
        message = f"The query has {len(query):,} bytes; at most {MAX_QUERY_BYTES:,} are read."
        raise InvalidQuery(message)
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > MAX_PARAMETERS:
        message = f"The query has {len(parts)} parameters; at most {MAX_PARAMETERS} are read."
        raise InvalidQuery(message)
    values: dict[str, str] = {}
    ignored: list[str] = []
    for part in parts:
        name = parameter_name(part)
        if name not in known:
            ignored.append(name)
        elif name in values:
            message = f"{name} is given twice. Give it once; write & inside a value as %26."
            raise InvalidQuery(message)
        else:
            values[name] = _decode_value(name, part.partition(b"=")[2])
    return values, ignored


def parse_picture_query(query: bytes) -> PictureQuery:
    """Read a query string: form encoding, strict UTF-8, names case-sensitive, unknown ones ignored.

    Raises `InvalidQuery` where it is longer than 16,384 bytes, has more than 100 parameters, is not
    UTF-8, gives a known parameter twice, or gives `text` and `prompt` that differ; `InvalidText`
    where it gives neither.
    """
    values, ignored = read_parameters(query, _KNOWN)
    return PictureQuery(
        text=_settle_text(values),
        model=values.get("model", ""),
        seed=values.get("seed", ""),
        display={name: values[name] for name in values if name in DISPLAY_NAMES},
        is_placeholder=is_placeholder(values),
        is_cached_only=CACHED_NAME in values,
        used=tuple(name for name in values if name not in SIGNATURE_NAMES),
        ignored=tuple(ignored),
        signature=_signature_of(values),
    )


def parameter_name(part: bytes) -> str:
    """The decoded name of one `name=value` of a query."""
    # A name that is not UTF-8 is certainly not one of ours: like every unknown name, no fault.
    return _decode_form(part.partition(b"=")[0]).decode(errors="replace")


def parameter_value(part: bytes) -> bytes:
    """The decoded value of one `name=value` of a query, whatever bytes it is of."""
    return _decode_form(part.partition(b"=")[2])


def _decode_form(raw: bytes) -> bytes:
    """`+` is a space, `%2B` a plus; a percent sign without two digits stands for itself (WHATWG)."""
    raw = raw.replace(b"+", b" ")
    return unquote_to_bytes(raw) if b"%" in raw else raw


def _decode_value(name: str, raw: bytes) -> str:
    try:
        return _decode_form(raw).decode()
    except UnicodeDecodeError as exc:
        message = f"{name} is not UTF-8 (byte {exc.start + 1} of it). Percent-encode its UTF-8 bytes."
        raise InvalidQuery(message) from exc


def _signature_of(values: dict[str, str]) -> UrlSignature | None:
    """One parameter of it is enough to be judged as a signature."""
    if not any(name in values for name in SIGNATURE_NAMES):
        return None
    key_id, expires, signature = (values.get(name, "") for name in SIGNATURE_NAMES)
    return UrlSignature(key_id=key_id, expires=expires, signature=signature)


def _settle_text(values: dict[str, str]) -> str:
    given = [values[name] for name in _TEXT_NAMES if name in values]
    if not given:
        message = "There is no text. Describe the picture, as in ?text=A%20beautiful%20sunset"
        raise InvalidText(message)
    if len(given) > 1 and fold_text(given[0]) != fold_text(given[1]):
        message = "text and prompt say different things. Give one of them; prompt is another name for text."
        raise InvalidQuery(message)
    return given[0]
