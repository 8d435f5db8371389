"""Pixels as the bytes of one format: each encoder's settings, palettes and transparency."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import ProviderFailed
from copperplate.imaging.decode import decode, fit
from copperplate.imaging.header import Header, bad_output
from copperplate.model import PictureFormat

if TYPE_CHECKING:
    from PIL.Image import Image

    from copperplate.model import Rendition, Size

_DEFAULT_QUALITY: Final = 85


def encode(original: bytes, header: Header, rendition: Rendition, size: Size, at_most_bytes: int | None) -> bytes:
    """The rendition asked for, from the bytes of an original; see `OpenPicture.encode`."""
    try:
        picture = fit(decode(original, header, size), size)
    except ProviderFailed:
        raise
    except Exception as exc:
        raise bad_output(f"the original cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    body = save(picture, rendition.format, rendition.quality)
    if at_most_bytes is None or len(body) <= at_most_bytes:
        return body
    if rendition.format is PictureFormat.PNG:
        body = save(with_palette(picture), rendition.format, None)
    if len(body) > at_most_bytes:
        raise bad_output(f"the picture takes {len(body)} bytes, of {at_most_bytes} that are allowed")
    return body


def with_palette(picture: Image) -> Image:
    """In 256 colours, those that fit it best; alpha stays."""
    from PIL.Image import Quantize

    method = Quantize.FASTOCTREE if picture.mode == "RGBA" else Quantize.MEDIANCUT
    return picture.quantize(256, method=method)


def save(picture: Image, picture_format: PictureFormat, quality: int | None) -> bytes:
    """Encoded without metadata. The effort of each encoder is measured in docs/adr/0007."""
    if picture.mode == "RGBA":
        picture = _without_alpha(picture, is_wanted=picture_format is not PictureFormat.JPG)
    picture.info = {}  # Pillow's writers copy comments, profiles and transparency from here
    options: dict[str, Any] = {
        PictureFormat.JPG: {"format": "JPEG", "quality": quality or _DEFAULT_QUALITY, "optimize": True},
        PictureFormat.PNG: {"format": "PNG", "compress_level": 4},
        PictureFormat.WEBP: {"format": "WEBP", "quality": quality or _DEFAULT_QUALITY, "method": 2},
        PictureFormat.AVIF: {"format": "AVIF", "quality": quality or _DEFAULT_QUALITY, "speed": 10},
    }[picture_format]
    target = BytesIO()
    picture.save(target, **options)
    return target.getvalue()


def _without_alpha(picture: Image, *, is_wanted: bool) -> Image:
    """RGB on white; unchanged where alpha is wanted and does anything."""
    from PIL import Image

    alpha = picture.getchannel("A")
    is_opaque = alpha.getextrema() == (255, 255)
    if is_opaque:
        return picture.convert("RGB")
    if is_wanted:
        return picture
    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture, mask=alpha)
    return paper
