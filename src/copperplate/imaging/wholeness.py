"""Whether all pixels came out of a file. What Pillow hides, a strict decoder or the file's own end tells.

- jpg: libjpeg-turbo with each warning an error (`simplejpeg`): Pillow paints what is missing grey, without a word.
- png: the checksums of all critical chunks, read in `png_chunks`, and its last row: Pillow leaves missing rows black.
  Where the last one is black, the number of unfolded bytes tells (`png_rows`).
- webp: libwebp tells of data that is missing. Data that is left over is told by a cut: of a whole picture, nothing
  can be spared at the end.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture
from copperplate.imaging import jpeg_segments, webp_chunks
from copperplate.imaging.png_rows import check_rows, is_interlaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from copperplate.imaging.jpeg_segments import Segment
    from copperplate.imaging.webp_chunks import Chunk

# The decoder may scale while it decodes: it still reads every bit, and makes a sixty-fourth of the pixels.
_SCALE: Final = 8
_COLOURS: Final = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}
# Subsamplings that encoders do not write and simplejpeg does not know: Pillow's word is taken for these.
_UNKNOWN_SAMPLING: Final = "Could not determine subsampling"
# Coded webp pixels end within two bytes of their last bit, and are no encoder adds as many.
WEBP_SPARE_BYTES: Final = 16
# Of padding with zeros, so many may be pixels: what needs more of them to be whole was filled up after a cut.
WEBP_ZERO_BYTES: Final = 64


def check_jpeg(segments: Sequence[Segment]) -> None:
    """Raises `NoPicture` unless every bit of every scan was read without a complaint."""
    jpeg_segments.check_scans(segments)
    padless = jpeg_segments.without_padding(segments)
    jpeg_segments.check_gaps(padless)
    try:
        _decode_strictly(jpeg_segments.with_what_pixels_need(segments))
    except ValueError as complaint:
        if "extraneous bytes before marker 0xd9" not in str(complaint):
            raise NoPicture(f"the jpg is damaged: {complaint}") from complaint
        _check_padded(padless, complaint)


def _check_padded(segments: Sequence[Segment], complaint: ValueError) -> None:
    try:
        _decode_strictly(jpeg_segments.with_what_pixels_need(segments))
    except ValueError:
        raise NoPicture(f"the jpg is damaged: {complaint}") from complaint


def _decode_strictly(body: bytes) -> None:
    import simplejpeg  # loads numpy, which only a miss needs

    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(body)
    except KeyError:  # 4:4:1
        return
    except ValueError as complaint:
        if _UNKNOWN_SAMPLING in str(complaint):
            return
        raise
    simplejpeg.decode_jpeg(
        body, colorspace=_COLOURS.get(colours, "RGB"), min_height=1, min_width=1, min_factor=_SCALE, strict=True
    )


def check_png(chunks: Sequence[bytes], decoded: Image) -> None:
    """Raises `NoPicture` unless every row was in whole `IDAT` chunks; `decoded` is what Pillow made of them."""
    last_row = decoded.crop((0, decoded.height - 1, decoded.width, decoded.height))
    # Rows are written in order, and only whole ones: one value that is not zero proves those before it.
    if is_interlaced(chunks) or not any(last_row.tobytes()):
        check_rows(chunks)


def check_webp(chunks: list[Chunk]) -> None:
    """Raises `NoPicture` unless the coded pixels end where their chunk does."""
    for number, chunk in enumerate(chunks):
        if chunk.name not in webp_chunks.CODED or (chunk.name == b"ALPH" and not chunk.content[0] & 3):
            continue  # alpha that is not compressed is as long as it is
        length = len(chunk.content)
        if _decodes(webp_chunks.shortened(chunks, number, length - WEBP_SPARE_BYTES)) and not _is_padded(
            chunks, number
        ):
            raise NoPicture("the webp is damaged: its pixels end before its data")


def _is_padded(chunks: list[Chunk], number: int) -> bool:
    """Whether what is left over is zeros behind a whole picture, not zeros in the place of its end."""
    trimmed = len(chunks[number].content.rstrip(b"\0"))
    has_all = _decodes(webp_chunks.shortened(chunks, number, trimmed + WEBP_ZERO_BYTES))
    return has_all and not _decodes(webp_chunks.shortened(chunks, number, trimmed - WEBP_SPARE_BYTES))


def _decodes(chunks: list[Chunk]) -> bool:
    from PIL import Image

    try:
        with Image.open(BytesIO(webp_chunks.with_what_pixels_need(chunks)), formats=["WEBP"]) as image:
            image.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True
