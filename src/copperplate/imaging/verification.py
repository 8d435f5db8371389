"""Whether a provider's bytes are a usable picture: every pixel is decoded and looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.errors import NoPicture, ProviderFailed
from copperplate.imaging.colours import eight_bit
from copperplate.imaging.decode import is_upright, open_picture, upright_size
from copperplate.imaging.header import FORMATS, Header, bad_output
from copperplate.model import PictureFacts

if TYPE_CHECKING:
    from copperplate.model import Size


def verify(body: bytes, header: Header, covers: Size) -> PictureFacts:
    """What `body` is; raises `ProviderFailed` (bad output) for what is not to be kept."""
    try:
        facts, is_uniform = _inspect(body, header)
    except ProviderFailed:
        raise
    except Exception as exc:  # hostile bytes raise anything, MemoryError and struct.error included
        raise NoPicture(f"the {FORMATS[header.name]} cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    if not facts.size.covers(covers):
        raise bad_output(f"the picture is {facts.size}, which does not cover {covers}")
    if is_uniform:
        raise bad_output(f"the picture is one flat colour, {facts.size}")
    return facts


def _inspect(body: bytes, header: Header) -> tuple[PictureFacts, bool]:
    """The facts, and whether nothing is to be seen; decodes every pixel."""
    if header.name == "PNG":
        open_picture(body, header).verify()  # the checksums of every chunk, which decoding alone skips
    with open_picture(body, header) as image:
        image.load()
        facts = PictureFacts(format=FORMATS[header.name], size=upright_size(image), is_upright=is_upright(image))
        seen = eight_bit(image)
        extrema = [seen.getchannel(band).getextrema() for band in seen.getbands()]
        is_invisible = seen.mode == "RGBA" and extrema[3] == (0, 0)
        return facts, is_invisible or all(low == high for low, high in extrema[:3])
