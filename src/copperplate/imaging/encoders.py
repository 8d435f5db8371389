"""Pixels as the bytes of one format: each encoder's settings, palettes and labels (docs/adr/0051).

Encoders work without the interpreter lock: a jpeg's does so only where it writes to a file, so it is given one.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final

from copperplate.imaging.header import bad_output
from copperplate.model import PictureFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from copperplate.model import Rendition

DEFAULT_QUALITY: Final = 85
# AVIF's own quality that has WebP's SSIM at each rung; measured, see docs/adr/0051.
AVIF_QUALITIES: Final[Mapping[int, int]] = {40: 43, 60: 51, 75: 59, 85: 72, 95: 87}

_OPTIONS: Final[Mapping[PictureFormat, Mapping[str, Any]]] = {
    PictureFormat.JPG: {"format": "JPEG", "optimize": True},
    PictureFormat.PNG: {"format": "PNG", "compress_level": 4},
    PictureFormat.WEBP: {"format": "WEBP", "method": 2},
    # One thread: those of the room share the cores out.
    PictureFormat.AVIF: {"format": "AVIF", "speed": 10, "max_threads": 1},
}


def encode(
    picture: Image, rendition: Rendition, *, at_most_bytes: int | None = None, xmp: bytes | None = None
) -> bytes:
    """`picture` as RGB or RGBA, in the format and quality of `rendition`, with no metadata but `xmp`.

    A png above `at_most_bytes` is given a palette; what is above it all the same raises `ProviderFailed` (bad output).
    """
    body = _save(picture, rendition, xmp)
    if at_most_bytes is None or len(body) <= at_most_bytes:
        return body
    if rendition.format is PictureFormat.PNG:
        body = _save(_with_palette(picture), rendition, xmp)
    if len(body) > at_most_bytes:
        raise bad_output(f"the picture takes {len(body)} bytes, of {at_most_bytes} that are allowed")
    return body


def avif_quality(quality: int) -> int:
    """AVIF's own quality for one of the ladder; between two rungs in proportion."""
    rungs = [(0, 0), *AVIF_QUALITIES.items(), (100, 100)]
    for (low, low_avif), (high, high_avif) in itertools.pairwise(rungs):
        if quality <= high:
            return round(low_avif + (high_avif - low_avif) * (quality - low) / (high - low))
    return rungs[-1][1]


def _save(picture: Image, rendition: Rendition, xmp: bytes | None) -> bytes:
    if picture.mode == "RGBA" and rendition.format is PictureFormat.JPG:
        picture = _on_white(picture)
    options = dict(_OPTIONS[rendition.format]) | _quality_option(rendition) | _label_option(rendition, xmp)
    if rendition.format is not PictureFormat.JPG:
        target = BytesIO()
        _unshared(picture).save(target, **options)
        return target.getvalue()
    with temporary_file() as file:
        _unshared(picture).save(file, **options)
        file.seek(0)
        return file.read()


def _unshared(picture: Image) -> Image:
    """A copy for one writer alone: Pillow notes its options on the image, and copies comments and profiles from it."""
    copied = picture.copy()
    copied.info = {}
    return copied


def _quality_option(rendition: Rendition) -> dict[str, Any]:
    quality = rendition.quality or DEFAULT_QUALITY
    match rendition.format:
        case PictureFormat.PNG:
            return {}
        case PictureFormat.AVIF:
            return {"quality": avif_quality(quality)}
        case _:
            return {"quality": quality}


def _label_option(rendition: Rendition, xmp: bytes | None) -> dict[str, Any]:
    if xmp is None:
        return {}
    if rendition.format is not PictureFormat.PNG:
        return {"xmp": xmp}
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return {"pnginfo": chunks}


def temporary_file() -> IO[bytes]:
    """A file with a descriptor, in memory where the platform has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("picture"), "w+b")
    return tempfile.TemporaryFile()


def _with_palette(picture: Image) -> Image:
    """In 256 colours, those that fit it best; alpha stays."""
    from PIL.Image import Quantize

    method = Quantize.FASTOCTREE if picture.mode == "RGBA" else Quantize.MEDIANCUT
    return picture.quantize(256, method=method)


def _on_white(picture: Image) -> Image:
    from PIL import Image

    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper
