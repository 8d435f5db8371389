"""The pixels of an upload in sRGB, and as the bytes of a file that holds nothing else; both in little memory."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from copperplate.imaging.colours import eight_bit, in_srgb
from copperplate.imaging.encoders import temporary_file
from copperplate.imaging.header import MAX_BODY_BYTES
from copperplate.imaging.png_chunks import MAX_PROFILE_BYTES
from copperplate.model import PictureFormat
from copperplate.source_errors import PictureTooLarge

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Buffer

# Converted at a time, so that no more than one further picture is in memory.
_PIXELS_AT_ONCE: Final = 512 * 1024
# No loss that a model could see, and no colours of half the size.
_JPEG: Final[dict[str, Any]] = {"format": "JPEG", "quality": 95, "subsampling": 0}
_PNG: Final[dict[str, Any]] = {"format": "PNG", "compress_level": 1}


class _Full(Exception):
    """A file grew above what is taken."""


class _Bounded(BytesIO):
    """Ends an encoder as soon as its file is too large."""

    def write(self, written: Buffer, /) -> int:
        if self.tell() + memoryview(written).nbytes > MAX_BODY_BYTES:
            raise _Full
        return super().write(written)


def shown(image: Image) -> Image:
    """The picture as a browser shows it, as RGB or RGBA of 8 bits."""
    if len(image.info.get("icc_profile") or b"") > MAX_PROFILE_BYTES:
        image.info.pop("icc_profile")
    probe = image.crop((0, 0, 1, 1))
    if eight_bit(in_srgb(probe)) is probe:
        return image
    return _converted(image)


def is_opaque(picture: Image) -> bool:
    """Whether nothing shines through any pixel."""
    return picture.mode != "RGBA" or picture.getchannel("A").getextrema() == (255, 255)


def encode_clean(picture: Image, *, is_lossless: bool) -> tuple[bytes, PictureFormat]:
    """The file of a picture, a png where it `is_lossless` and not too large for one, and its format.

    Raises `PictureTooLarge` where a picture with alpha takes more bytes than are taken.
    """
    picture.info = {}
    if is_lossless:
        file = _Bounded()
        try:
            picture.save(file, **_PNG)
        except _Full:
            del file
            if not is_opaque(picture):
                raise PictureTooLarge(f"its png takes more than {MAX_BODY_BYTES} bytes: send it smaller") from None
        else:
            return file.getvalue(), PictureFormat.PNG
    return _jpeg(picture), PictureFormat.JPG


def _jpeg(picture: Image) -> bytes:
    opaque = picture if picture.mode == "RGB" else picture.convert("RGB")
    with temporary_file() as file:
        opaque.save(file, **_JPEG)
        if file.tell() > MAX_BODY_BYTES:
            raise PictureTooLarge(f"its jpg takes more than {MAX_BODY_BYTES} bytes: send it smaller")
        file.seek(0)
        return file.read()


def _converted(image: Image) -> Image:
    from PIL import Image as Pillow

    rows, made = max(1, _PIXELS_AT_ONCE // image.width), None
    for top in range(0, image.height, rows):
        strip = eight_bit(in_srgb(image.crop((0, top, image.width, min(top + rows, image.height)))))
        made = made or Pillow.new(strip.mode, image.size)
        made.paste(strip, (0, top))
    return made or image
