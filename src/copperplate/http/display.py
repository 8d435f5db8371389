"""Display parameters of the routes that FastAPI answers; those of a picture's URL are read before routing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

from fastapi import Depends, Query

from copperplate.markup import Picture, picture_url
from copperplate.model import PictureFormat
from copperplate.recipes.display import DISPLAY_NAMES, FITS, parse_display
from copperplate.recipes.image import parse_format
from copperplate.recipes.url import read_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import PictureRequest, Rendition

AUTO: Final = "auto"
_SIDE: Final = {"pattern": "^[1-9][0-9]{0,4}$"}
# Judged by `parse_display`: FastAPI's own refusal would have another code here than in a picture's URL.
Width = Annotated[str | None, Query(description="Width in px, up to the next rung", json_schema_extra=_SIDE)]
Height = Annotated[str | None, Query(description="With `w`: the ratio", json_schema_extra=_SIDE)]
Fit = Annotated[str | None, Query(description="With `h`", json_schema_extra={"enum": list(FITS)})]
Quality = Annotated[
    str | None,
    Query(description="Quality, up to the next rung", json_schema_extra={"pattern": "^(?:[1-9][0-9]?|100)$"}),
]
Thumb = Annotated[str | None, Query(description="`w` and `h` in one", json_schema_extra=_SIDE)]
Format = Annotated[
    str | None,
    Query(description="Format; the entry's own if absent", json_schema_extra={"enum": [*PictureFormat, "jpeg", AUTO]}),
]


def _given(
    w: Width = None,
    h: Height = None,
    fit: Fit = None,
    q: Quality = None,
    thumb: Thumb = None,
    format: Format = None,  # noqa: A002 - one idea, one word
) -> dict[str, str]:
    given = {"w": w, "h": h, "fit": fit, "q": q, "thumb": thumb, "format": format}
    return {name: value for name, value in given.items() if value is not None}


# The display parameters and the format of a request, by name, as received.
DisplayQuery = Annotated[dict[str, str], Depends(_given)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayPath:
    """Where a picture is shown in the form asked for, and the names of the parameters that make no difference."""

    path: str
    rendition: Rendition
    ignored: tuple[str, ...]


def display_path(given: dict[str, str], picture_request: PictureRequest) -> DisplayPath | None:
    """The path and query of a picture in the form asked for; None where no form is asked for.

    Raises `InvalidFormat` and `InvalidDisplay`.
    """
    if not given:
        return None
    values = dict(given)
    name = values.pop("format", picture_request.rendition.format.value)
    picture_format = PictureFormat.JPG if name == AUTO else parse_format(name)
    display = parse_display(values, picture_request.canvas, picture_format)
    ignored = display.ignored
    query = urlencode({name: value for name, value in given.items() if name not in ignored})
    path = kept_path(picture_request.generation_key) + (query and f"?{query}")
    return DisplayPath(path=path, rendition=display.rendition, ignored=ignored)


def kept_path(generation_key: str) -> str:
    """Where the original of a generation is, once it is kept."""
    return f"/api/images/{generation_key}"


def image_path(
    given: Mapping[str, str], picture_request: PictureRequest, *, picture_format: str, model: str | None
) -> str:
    """Path and query of an image in the form asked for, display parameters at their rungs: its one address.

    `given` are display parameters that were found valid, `model` is the model where the caller named one.
    """
    recipe, thumb = picture_request.recipe, given.get("thumb")
    w, h = given.get("w", thumb), given.get("h", thumb)
    picture = Picture(
        text=str(recipe["prompt"]),
        width=picture_request.canvas.width,
        height=picture_request.canvas.height,
        model=model or "",
        seed=int(str(recipe["seed"])) if recipe["seed"] else None,
    )
    return picture_url(
        picture,
        format=picture_format,
        w=None if w is None else int(w),
        h=None if h is None else int(h),
        fit=given.get("fit", "cover"),
        q=int(given["q"]) if "q" in given else None,
    )


def form_path(picture_request: PictureRequest, query: bytes) -> str:
    """Path and query of the form that a picture's URL asks for, without credential and signature.

    `query` is that of the URL, which was found valid.
    """
    values, _ = read_parameters(query, DISPLAY_NAMES)
    picture_format = picture_request.rendition.format
    return image_path(values, picture_request, picture_format=picture_format, model=picture_request.model)
