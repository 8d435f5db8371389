"""Wants and objects for tests, by number."""

from __future__ import annotations

from dataclasses import fields

from copperplate.model import OriginalUpload, PictureFormat, PictureRequest, Placeholder, RenditionUpload, Upload
from copperplate.recipes.image import image_request
from copperplate.recipes.objects import sha256_hex

MODEL = "copperplate/painter-1"
ENCODER_VERSION = 2
# Of a picture of an orange sun on a blue ground.
PLACEHOLDER = Placeholder(thumbhash=bytes.fromhex("3b1805077887778f8888788778988888f807887778878878"), color="#3c64b4")


def picture_request(
    prompt: str = "a beautiful sunset", picture_format: PictureFormat = PictureFormat.JPG, side: int = 64
) -> PictureRequest:
    """A wish for a square picture."""
    return image_request(prompt=prompt, width=side, height=side, format=picture_format, model=MODEL)


def upload(name: str, picture_format: str = "png") -> OriginalUpload:
    """An object that differs from every other name's."""
    digest = sha256_hex(name.encode())
    return OriginalUpload(
        path=f"2026/01/{digest}.{picture_format}",
        digest=digest,
        size_bytes=1000,
        format=picture_format,
        width=64,
        height=64,
    )


def rendition(asked: PictureRequest, name: str) -> RenditionUpload:
    """An object for the rendition asked for."""
    made = upload(name, asked.rendition.format)
    return RenditionUpload(
        key=asked.rendition_key,
        quality=asked.rendition.quality,
        is_sized=asked.rendition.size is not None,
        encoder_version=ENCODER_VERSION,
        **{column.name: getattr(made, column.name) for column in fields(Upload)},
    )
