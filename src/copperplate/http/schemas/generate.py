"""Single wishes: what a body may hold, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, Field

from copperplate.http.schemas.placeholders import PlaceholderOut
from copperplate.http.schemas.statistics import MICRO
from copperplate.recipes.display import FITS, MAX_DISPLAY_SIDE_PX, MAX_QUALITY
from copperplate.recipes.image import MAX_SEED, MAX_SIDE_PX, MIN_SIDE_PX
from copperplate.recipes.text import MAX_CODE_POINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.http.items import Item
    from copperplate.model import Entry

_NULL: Final = {"type": "null"}


class GeneratedAnswer(BaseModel):
    """A picture that is stored."""

    success: bool
    status: Literal["completed"]
    kind: str = Field(examples=["image"])
    key: str = Field(description="Of the generation: `GET /api/generations/{key}`")
    cached: bool = Field(description="True: it was there, and cost nothing")
    url: str = Field(description="The picture in the form asked for, the same for everybody")
    width: int = Field(description="Of that form, in px")
    height: int
    format: str = Field(examples=["jpg"], description="Of that form; jpg where `auto` leaves it to whoever loads it")
    size_bytes: int | None = Field(description="Of that form; null: it was not made yet, and is when it is loaded")
    placeholder: PlaceholderOut | None = Field(description="What is shown until the picture has come, if it is known")
    cost_usd: float | None = Field(description="What this request cost at the provider; null: no price is known")
    credits: int | None = Field(default=None, description="Of a memoji: credits left when this was first answered")
    thread_id: str | None = Field(description="As it was sent, like `style` and `title`")
    style: str | None
    title: str | None

    @classmethod
    def of(
        cls, item: Item, entry: Entry, *, url: str, cached: bool, cost: int | None, credits_left: int | None
    ) -> Self:
        """As it is now; `cost` is in millionths of a dollar, `entry` the form asked for or its original."""
        shown = item.shown
        is_shown = entry.key == item.picture_request.rendition_key and shown == item.picture_request.rendition
        size = shown.size or item.picture_request.canvas
        return cls(
            success=True,
            status="completed",
            kind=entry.kind,
            key=entry.generation_key,
            cached=cached,
            url=url,
            width=size.width,
            height=size.height,
            format=shown.format.value,
            size_bytes=entry.size_bytes if is_shown else None,
            placeholder=PlaceholderOut.of(entry.placeholder),
            cost_usd=None if cost is None else cost / MICRO,
            credits=credits_left,
            thread_id=item.echo.get("thread_id"),
            style=item.echo.get("style"),
            title=item.echo.get("title"),
        )


class PromisedAnswer(BaseModel):
    """A picture that is being made, or will be; what became of it is at `Location`."""

    success: bool
    status: Literal["pending", "generating"] = Field(description="`pending`: nothing was sent to a provider yet")
    kind: str = Field(examples=["image"])
    key: str = Field(description="Of the generation: `GET /api/generations/{key}`")
    url: str | None = Field(default=None, description="Where the picture will be in the form asked for")
    events: str | None = Field(
        description="Where its progress is streamed, `text/event-stream`; of a memoji it can be opened for ten minutes"
    )
    usual_seconds: float | None = Field(description="The median of this model's last pictures, if there are any")
    thread_id: str | None = Field(default=None, description="As it was sent, like `style` and `title`")
    style: str | None = None
    title: str | None = None


def item_schemas(memoji: Mapping[str, Any]) -> dict[str, Any]:
    """By name, the schemas of what a body may hold; `memoji` are the members of a memoji's configuration."""
    text = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_CODE_POINTS}
    side = {"type": ["integer", "null"], "minimum": MIN_SIDE_PX, "maximum": MAX_SIDE_PX}
    size = {"type": ["string", "null"], "pattern": "^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$", "example": "1024x768"}
    image = {
        "kind": {"type": ["string", "null"], "enum": ["image", None]},
        "prompt": {**text, "description": "What to see; white space is folded, letter case counts"},
        "text": {**text, "description": "Another name for `prompt`"},
        "width": {**side, "description": "Of the canvas, in px; 1024x1024 where no size is given"},
        "height": side,
        "dimensions": {**size, "description": "In place of `width` and `height`"},
        "size": {**size, "description": "Another name for `dimensions`"},
        "model": {"type": ["string", "null"], "description": "One that the server offers"},
        "seed": {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
                {"type": "string", "pattern": "^[0-9]{1,20}$"},
                _NULL,
            ],
            "description": "Another seed is another picture. Digits in a string where numbers are not exact",
        },
        **_common(),
    }
    return {
        "ImageItem": _object("ImageItem", image, {"prompt": "A beautiful sunset", "width": 1024, "height": 768}),
        "MemojiItem": {
            **_object(
                "MemojiItem",
                {"kind": {"type": "string", "enum": ["memoji"]}, **memoji, **_common()},
                {"kind": "memoji", "familyType": "grandmother", "gesture": "heart"},
            ),
            "required": ["kind"],
        },
    }


def _object(title: str, members: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "description": "Null counts as absent",
        "properties": dict(members),
        "example": dict(example),
    }


def _common() -> dict[str, Any]:
    px = {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_DISPLAY_SIDE_PX}
    echo = {"type": ["string", "null"], "maxLength": 200, "description": "Told again in answers and events"}
    return {
        "format": {"type": ["string", "null"], "enum": ["jpg", "jpeg", "png", "webp", "avif", "auto", None]},
        "w": {**px, "description": "Display: a width, up to the next rung"},
        "h": {**px, "description": "Display: with `w`, the ratio"},
        "fit": {"type": ["string", "null"], "enum": [*FITS, None]},
        "q": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_QUALITY},
        "thumb": {**px, "description": "Display: `w` and `h` in one"},
        "thread_id": echo,
        "style": echo,
        "title": echo,
        "priority": {"type": ["string", "null"], "enum": ["usual", "low", None]},
    }
