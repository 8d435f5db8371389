"""Whether a provider's bytes are a usable picture: every pixel came out of the file, and there is something to see."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from copperplate.errors import NoPicture, ProviderFailed
from copperplate.imaging.blankness import is_blank
from copperplate.imaging.colours import eight_bit
from copperplate.imaging.containers import read_container
from copperplate.imaging.decode import open_container, upright_size
from copperplate.imaging.header import FORMATS, Header, bad_output
from copperplate.imaging.placeholders import placeholder_of
from copperplate.model import PictureFacts

if TYPE_CHECKING:
    from PIL.Image import Image

    from copperplate.model import Placeholder, Size

logger = logging.getLogger(__name__)


def verify(body: bytes, header: Header, covers: Size) -> PictureFacts:
    """What the bytes are; raises `ProviderFailed` (bad output) for what is not to be kept."""
    try:
        facts, is_empty = _inspect(body, header)
    except ProviderFailed:
        raise
    except Exception as exc:  # hostile bytes raise anything, MemoryError and struct.error included
        raise NoPicture(f"the {FORMATS[header.name]} cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    if not facts.size.covers(covers):
        raise bad_output(f"the picture is {facts.size}, which does not cover {covers}")
    if is_empty:
        raise bad_output(f"the picture is one flat colour, {facts.size}")
    return facts


def _inspect(body: bytes, header: Header) -> tuple[PictureFacts, bool]:
    """The facts, and whether nothing is to be seen; decodes every pixel."""
    container = read_container(body, header)
    with open_container(container, header) as opened:
        image = container.prove(opened)
        facts = PictureFacts(
            format=FORMATS[header.name],
            size=upright_size(container, header),
            is_upright=container.orientation == 1,
            has_c2pa=container.has_c2pa,
            placeholder=_placeholder(image, container.orientation),
        )
        return facts, is_blank(eight_bit(image), is_jpeg=header.name == "JPEG")


def _placeholder(image: Image, orientation: int) -> Placeholder | None:
    """None where there is a fault: a picture that was paid for is not refused for what only stands in its place."""
    try:
        return placeholder_of(image, orientation)
    except Exception:  # hostile profiles raise anything
        logger.warning("no placeholder can be made of a picture", exc_info=True)
        return None
