"""Addresses, `srcset` and `<picture>` of one picture, for servers that render pages in Python.

A browser takes the smallest rendition that fills its screen, and all of them cost one generation::

    fox = Picture(base="https://pictures.example.com", text="a red fox", width=1024, height=768)
    picture_url(fox, format="webp", w=300)
    picture_markup(fox, alt="A red fox", sizes="(min-width: 60rem) 50vw, 100vw")

`client/picture_url.ts` and `client/srcset.ts` do the same for JavaScript, character by character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from copperplate.errors import InvalidDisplay, InvalidFormat, InvalidSize
from copperplate.model import PictureFormat, Size
from copperplate.recipes.display import DEFAULT_QUALITY, WIDTHS, parse_display, quality_rung, width_rung
from copperplate.recipes.image import MAX_SIDE_PX, MIN_SIDE_PX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMATS: Final = ("jpg", "png", "webp", "avif", "auto")
# Narrower ones are thumbnails, which have one address.
LEAST_WIDTH_PX: Final = 256

_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_READ_BY_CSS: Final = re.compile(r'["\\\n\r\f]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is made and paid for. Another value of any field but `base` and `access` is another picture.

    `width` and `height` are the sides of the canvas, 64 to 2048 px. Without a `model` it is the server's default one.
    `base` is scheme and host of the server, "" for the page's own. `access` is a signature as
    `UrlSignature.as_query()` writes it, or `key=cp_…` with a visible API key.
    """

    text: str = field(repr=False)
    width: int
    height: int
    model: str = ""
    seed: int | None = None
    base: str = ""
    access: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (self.width, self.height)):
            raise InvalidSize(f"The sides of a canvas are {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels.")

    @property
    def canvas(self) -> Size:
        """The size that is made."""
        return Size(width=self.width, height=self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is seen until the picture is there: its colour (`#rrggbb`), an address such as `placeholder_url` answers."""

    color: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    url: str
    size: Size


def picture_url(
    picture: Picture,
    *,
    format: str = "jpg",  # noqa: A002 - its name in addresses
    w: int | None = None,
    h: int | None = None,
    fit: str = "cover",
    q: int | None = None,
) -> str:
    """The address of a rendition; widths and qualities are taken up to their rung, as the server takes them.

    Raises `InvalidFormat` or `InvalidDisplay` for what the server would refuse.
    """
    if format not in FORMATS:
        raise InvalidFormat(f"The formats are {', '.join(FORMATS)}.")
    rendition_size(picture.canvas, w=w, h=h, fit=fit)
    shown = []
    if w is not None:
        # A rung above the canvas is the canvas. Beside `h`, `w` is half of a ratio and stays as it is.
        shown.append(f"w={min(width_rung(w), picture.width) if h is None else w}")
    if h is not None:
        shown += [f"h={h}", *(["fit=contain"] if fit == "contain" else [])]
    shown += _quality(q, format)
    return f"{_address(picture)}.{format}?{'&'.join([*_query(picture), *shown, *_access(picture)])}"


def placeholder_url(picture: Picture) -> str:
    """The address of a tiny picture (32 px at most) to show until the picture is there; 404 while it is not stored.

    It never makes a picture. Webp, because that is the smallest.
    """
    return f"{_address(picture)}.webp?{'&'.join([*_query(picture), 'placeholder', *_access(picture)])}"


def rendition_size(canvas: Size, *, w: int | None = None, h: int | None = None, fit: str = "cover") -> Size:
    """The size of the rendition that the server answers with. Raises `InvalidDisplay`."""
    given = {"w": w, "h": h, "fit": fit}
    values = {name: str(value) for name, value in given.items() if value is not None}
    return parse_display(values, canvas, PictureFormat.JPG).rendition.size or canvas


def srcset(
    picture: Picture,
    *,
    format: str = "jpg",  # noqa: A002 - its name in addresses
    q: int | None = None,
    ratio: tuple[int, int] | None = None,
    widths: Iterable[int] | None = None,
) -> str:
    """The renditions of a picture as `srcset`: an address and its width in px each, the smallest first.

    `ratio` is width to height of what is seen, such as (16, 9): the middle is cut out. `widths` are taken up to their
    rungs; all rungs from 256 unless given. None is above the canvas.
    """
    return _listed(_candidates(picture, format, q, ratio, widths))


def picture_markup(  # noqa: PLR0913 - an element and its attributes, all but the picture by name
    picture: Picture,
    *,
    alt: str,
    sizes: str = "100vw",
    formats: Sequence[str] = ("webp", "jpg"),
    q: int | None = None,
    ratio: tuple[int, int] | None = None,
    widths: Iterable[int] | None = None,
    loading: str = "lazy",
    decoding: str = "async",
    background: Background | None = None,
) -> str:
    """A `<picture>` in HTML; everything is escaped, and `alt` may be anybody's words.

    `sizes` is how wide the picture is on the page, as CSS. The best of `formats` comes first; the last is that of
    `<img>`, which every browser reads. `loading` is "eager" for what is seen first.
    """
    wanted = None if widths is None else tuple(widths)
    *others, (_, found) = [(each, _candidates(picture, each, q, ratio, wanted)) for each in formats or ("jpg",)]
    lines = [
        f"  <source{_attributes(type=_media_type(each), sizes=sizes, srcset=_listed(those))}>" for each, those in others
    ]
    size = found[-1].size
    # In the order that matters: a browser that meets `src` first fetches it.
    img = {"alt": alt, "width": size.width, "height": size.height, "loading": loading, "decoding": decoding}
    seen_before = _background(background or Background())
    style = {"style": f"background: {seen_before}"} if seen_before else {}
    shown = _attributes(**img, **style, sizes=sizes, srcset=_listed(found), src=found[-1].url)
    return "\n".join(["<picture>", *lines, f"  <img{shown}>", "</picture>"])


def _address(picture: Picture) -> str:
    return f"{picture.base.rstrip('/')}/{picture.width}x{picture.height}"


def _query(picture: Picture) -> list[str]:
    given = {"model": picture.model, "seed": "" if picture.seed is None else str(picture.seed)}
    named = {"text": picture.text} | {name: value for name, value in given.items() if value}
    # Nothing is left that HTML, a `srcset` or CSS would read.
    return [f"{name}={quote(value, safe='~')}" for name, value in named.items()]


def _access(picture: Picture) -> list[str]:
    return [picture.access] if picture.access else []


def _quality(q: int | None, format: str) -> list[str]:  # noqa: A002
    if q is None:
        return []
    parse_display({"q": str(q)}, Size(width=MIN_SIDE_PX, height=MIN_SIDE_PX), PictureFormat.JPG)
    rung = quality_rung(q)
    return [] if format == "png" or rung == DEFAULT_QUALITY else [f"q={rung}"]


def _candidates(
    picture: Picture,
    format: str,  # noqa: A002
    q: int | None,
    ratio: tuple[int, int] | None,
    widths: Iterable[int] | None,
) -> list[_Candidate]:
    found: dict[int, _Candidate] = {}
    for w in _rungs(picture.width, widths):
        h = None if ratio is None else _height_for(w, ratio)
        size = rendition_size(picture.canvas, w=w, h=h)
        found.setdefault(size.width, _Candidate(picture_url(picture, format=format, w=w, h=h, q=q), size))
        if size.width < w:
            break  # the canvas has no room for a wider one of this ratio
    return list(found.values())


def _rungs(canvas_width: int, widths: Iterable[int] | None) -> list[int]:
    """Rungs, the smallest first; of those that reach the canvas one."""
    wanted = [rung for rung in WIDTHS if rung >= LEAST_WIDTH_PX] if widths is None else widths
    ascending = sorted({width_rung(width) for width in wanted if width >= 1})
    if not ascending:
        raise InvalidDisplay("A srcset has one width at least.")
    below = [rung for rung in ascending if rung < canvas_width]
    return [*below, canvas_width] if len(below) < len(ascending) else below


def _height_for(w: int, ratio: tuple[int, int]) -> int:
    """The height of a width, to the nearest px, halves up."""
    across, down = ratio
    if min(ratio) < 1:
        raise InvalidDisplay("A ratio is two whole numbers above 0.")
    return max(1, (2 * w * down + across) // (2 * across))


def _listed(found: Iterable[_Candidate]) -> str:
    return ", ".join(f"{each.url} {each.size.width}w" for each in found)


def _media_type(name: str) -> str:
    return "image/jpeg" if name == "jpg" else f"image/{name}"


def _background(background: Background) -> str:
    if background.color and not _COLOUR.fullmatch(background.color):
        raise InvalidDisplay("A background's colour is #rrggbb.")
    if _READ_BY_CSS.search(background.url):
        raise InvalidDisplay("The address of a background holds what CSS would read.")
    url = background.url and f'url("{background.url}") center / cover no-repeat'
    return " ".join(filter(None, (background.color, url)))


def _attributes(**named: object) -> str:
    return "".join(f' {name}="{_escaped(str(value))}"' for name, value in named.items())


def _escaped(text: str) -> str:
    return escape(text, quote=False).replace('"', "&quot;")
