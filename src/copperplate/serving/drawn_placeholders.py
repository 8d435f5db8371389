"""Placeholders as tiny pictures, remembered: a page asks for dozens of them at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from copperplate.model import PictureRequest, Placeholder
    from copperplate.ports import Images

# Of at most 2 KB each.
REMEMBERED: Final = 256


class DrawnPlaceholders:
    """Draws what a ThumbHash says, in the format asked for. A second drawing of one placeholder has the same bytes."""

    def __init__(self, images: Images) -> None:
        self._images = images
        # The least recently used first.
        self._drawn: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    async def draw(self, placeholder: Placeholder, request: PictureRequest, *, model: str | None) -> bytes:
        """The tiny picture in the format of a request and the shape of its canvas, labelled as made by `model`."""
        picture_format, canvas = request.rendition.format, request.canvas
        key = (placeholder, picture_format, canvas, model)
        if (drawn := self._drawn.get(key)) is not None:
            self._drawn.move_to_end(key)
            return drawn
        drawn = await self._images.draw_placeholder(placeholder, picture_format, canvas=canvas, model=model)
        self._drawn[key] = drawn
        if len(self._drawn) > REMEMBERED:
            self._drawn.popitem(last=False)
        return drawn
