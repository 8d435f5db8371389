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

# The decoder scales while it decodes: it still reads every bit.
_HALF: Final = 2
_COLOURS: Final = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}
# Subsamplings that encoders do not write and simplejpeg does not know: Pillow's word is taken for these.
_UNKNOWN_SAMPLING: Final = "Could not determine subsampling"
# Coded webp pixels end within two bytes of their last bit, and are no encoder adds as many.
WEBP_SPARE_BYTES: Final = 16
# Of padding with zeros, so many may be pixels: what needs more of them to be whole was filled up after a cut.
WEBP_ZERO_BYTES: Final = 64


def prove_jpeg(segments: Sequence[Segment], opened: Image) -> Image:
    """The pixels in half of the size, of which every bit was read without a complaint; raises `NoPicture` otherwise."""
    jpeg_segments.check_scans(segments)
    padless = jpeg_segments.without_padding(segments)
    jpeg_segments.check_gaps(padless)
    try:
        decoded = _decode_strictly(jpeg_segments.with_what_pixels_need(segments), opened)
    except ValueError as complaint:
        if "extraneous bytes before marker 0xd9" not in str(complaint):
            raise NoPicture(f"the jpg is damaged: {complaint}") from complaint
        decoded = _decode_padless(padless, opened, complaint)
    if decoded is not None and jpeg_segments.is_usual(segments):
        return decoded
    opened.draft(None, _half(opened))
    opened.load()
    return opened


def _decode_padless(segments: Sequence[Segment], opened: Image, complaint: ValueError) -> Image | None:
    try:
        return _decode_strictly(jpeg_segments.with_what_pixels_need(segments), opened)
    except ValueError:
        raise NoPicture(f"the jpg is damaged: {complaint}") from complaint


def _decode_strictly(body: bytes, opened: Image) -> Image | None:
    """The pixels in half of the size, as Pillow would decode them; None where only Pillow can make them."""
    import simplejpeg  # loads numpy, which only a miss needs
    from PIL import Image as Pillow

    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(body)
    except KeyError:  # 4:4:1
        return None
    except ValueError as complaint:
        if _UNKNOWN_SAMPLING in str(complaint):
            return None
        raise
    space, (width, height) = _COLOURS.get(colours, "RGB"), _half(opened)
    pixels = simplejpeg.decode_jpeg(
        body, colorspace=space, min_width=width, min_height=height, min_factor=_HALF, strict=True
    )
    if space == "CMYK":  # Pillow knows which programs write it inverted
        return None
    decoded = Pillow.fromarray(pixels[:, :, 0] if space == "GRAY" else pixels)
    decoded.info = dict(opened.info)
    return decoded


def _half(image: Image) -> tuple[int, int]:
    return -(-image.width // _HALF), -(-image.height // _HALF)


def prove_png(chunks: Sequence[bytes], opened: Image) -> Image:
    """The pixels, of which every row was in whole `IDAT` chunks; raises `NoPicture` otherwise."""
    opened.load()
    last_row = opened.crop((0, opened.height - 1, opened.width, opened.height))
    # Rows are written in order, and only whole ones: one value that is not zero proves those before it.
    if is_interlaced(chunks) or not any(last_row.tobytes()):
        check_rows(chunks)
    return opened


def prove_webp(chunks: list[Chunk], opened: Image) -> Image:
    """The pixels, whose code ends where its chunk does; raises `NoPicture` otherwise."""
    for number, chunk in enumerate(chunks):
        if chunk.name not in webp_chunks.CODED or (chunk.name == b"ALPH" and not chunk.content[0] & 3):
            continue  # alpha that is not compressed is as long as it is
        length = len(chunk.content)
        if _decodes(webp_chunks.shortened(chunks, number, length - WEBP_SPARE_BYTES)) and not _is_padded(
            chunks, number
        ):
            raise NoPicture("the webp is damaged: its pixels end before its data")
    opened.load()  # last: these pixels and those of a trial are not in memory at once
    return opened


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
