"""STAND-IN: numbered pictures, and bytes that only claim to be pictures."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable


def numbered(number: int, width: int, height: int, *, form: str = "PNG", **options: object) -> bytes:
    """A picture that differs from every other number's in every pixel; its number is its first pixel."""
    ramp = Image.linear_gradient("L").resize((width, height))
    tint = Image.new("L", (width, height), number % 256)
    picture = Image.merge("RGB", (ramp, tint, ramp.transpose(Image.Transpose.ROTATE_180)))
    picture.putpixel((0, 0), (number >> 16 & 255, number >> 8 & 255, number & 255))
    target = BytesIO()
    picture.save(target, form, **options)
    return target.getvalue()


def number_of(body: bytes) -> int:
    """The number of a picture as it was sent (lossless forms only)."""
    with Image.open(BytesIO(body)) as picture:
        red, green, blue = picture.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    return int(red) << 16 | int(green) << 8 | int(blue)


def _plain(number: int, width: int, height: int, colour: str, mode: str = "RGB") -> bytes:
    target = BytesIO()
    Image.new(mode, (width, height), colour).save(target, "PNG")
    return target.getvalue()


def _animated(number: int, width: int, height: int) -> bytes:
    frames = [Image.new("RGB", (width, height), colour) for colour in ("red", "blue")]
    target = BytesIO()
    frames[0].save(target, "PNG", save_all=True, append_images=frames[1:])
    return target.getvalue()


def _gif(number: int, width: int, height: int) -> bytes:
    return numbered(number, width, height, form="GIF")


def _bomb(number: int, width: int, height: int) -> bytes:
    """A small PNG whose header says 30000x30000."""
    body = bytearray(numbered(number, 64, 64))
    body[16:24] = (30_000).to_bytes(4, "big") * 2
    body[29:33] = zlib.crc32(bytes(body[12:29])).to_bytes(4, "big")
    return bytes(body)


def _broken_checksum(number: int, width: int, height: int) -> bytes:
    body = bytearray(numbered(number, width, height))
    body[-20] ^= 0xFF
    return bytes(body)


SPOILT: dict[str, Callable[[int, int, int], bytes]] = {
    "black": lambda n, w, h: _plain(n, w, h, "black"),
    "white": lambda n, w, h: _plain(n, w, h, "white"),
    "invisible": lambda n, w, h: _plain(n, w, h, "#12345600", "RGBA"),
    "html": lambda n, w, h: b"<!doctype html><title>Just a moment</title><h1>Checking your browser</h1>",
    "json": lambda n, w, h: b'{"detail":"not found"}',
    "text": lambda n, w, h: b"the picture is being made",
    "zero_bytes": lambda n, w, h: b"",
    "truncated_jpeg": lambda n, w, h: numbered(n, w, h, form="JPEG")[:-200],
    "truncated_png": lambda n, w, h: numbered(n, w, h)[:-200],
    "truncated_webp": lambda n, w, h: numbered(n, w, h, form="WEBP")[:-100],
    "header_only_jpeg": lambda n, w, h: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "header_only_png": lambda n, w, h: b"\x89PNG\r\n\x1a\n",
    "broken_checksum": _broken_checksum,
    "too_small": lambda n, w, h: numbered(n, 32, 32),
    "too_narrow": lambda n, w, h: numbered(n, 48, h),
    "one_pixel": lambda n, w, h: numbered(n, 1, 1),
    "oversized": lambda n, w, h: numbered(n, w, h) + b"\0" * (33 * 1024 * 1024),
    "bomb": _bomb,
    "animated": _animated,
    "gif": _gif,
    "svg": lambda n, w, h: b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64"/></svg>',
    "bmp": lambda n, w, h: numbered(n, w, h, form="BMP"),
    "tiff": lambda n, w, h: numbered(n, w, h, form="TIFF"),
    "gzipped": lambda n, w, h: gzip.compress(numbered(n, w, h)),
    "noise": lambda n, w, h: bytes(range(256)) * 40,
}


def draw(number: int, width: int, height: int, scenario: str = "") -> bytes:
    """The picture a scenario asks for; a good one where it asks for nothing of the kind."""
    spoilt = SPOILT.get(scenario)
    return spoilt(number, width, height) if spoilt else numbered(number, width, height)
