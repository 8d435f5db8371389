"""A png that lacks rows is no picture, whatever its checksums say."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from copperplate.errors import NoPicture
from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.png_rows import check_rows
from copperplate.model import Size


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunks_of(width: int, height: int, pixels: bytes, *, depth: int = 8, color: int = 2, lace: int = 0) -> list[bytes]:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, lace)
    packed = zlib.compress(pixels)
    half = len(packed) // 2
    return [chunk(b"IHDR", header), chunk(b"IDAT", packed[:half]), chunk(b"IDAT", packed[half:])]


@pytest.mark.parametrize(
    ("width", "depth", "color", "row"),
    [(5, 8, 2, 16), (5, 1, 0, 2), (9, 1, 3, 3), (3, 16, 6, 25), (3, 4, 0, 3), (2, 16, 4, 9)],
)
def test_rows_of_every_colour_type_are_counted(width: int, depth: int, color: int, row: int) -> None:
    check_rows(chunks_of(width, 7, bytes(7 * row), depth=depth, color=color))
    with pytest.raises(NoPicture, match="lacks rows"):
        check_rows(chunks_of(width, 7, bytes(7 * row - 1), depth=depth, color=color))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (5, 3), (8, 8), (17, 9), (64, 33)])
def test_passes_of_an_interlaced_picture_are_counted(size: tuple[int, int]) -> None:
    # Pixel by pixel: which pass it is in, as the specification draws it.
    pattern = ("16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777")
    rows: dict[tuple[str, int], int] = {}
    for y in range(size[1]):
        for x in range(size[0]):
            place = (pattern[y % 8][x % 8], y)
            rows[place] = rows.get(place, 0) + 1
    expected = sum(1 + columns for columns in rows.values())
    check_rows(chunks_of(*size, bytes(expected), color=0, lace=1))
    with pytest.raises(NoPicture):
        check_rows(chunks_of(*size, bytes(expected - 1), color=0, lace=1))


def test_what_does_not_unfold_is_no_picture() -> None:
    broken = [chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), chunk(b"IDAT", b"not packed")]
    with pytest.raises(NoPicture, match="do not unfold"):
        check_rows(broken)
    with pytest.raises(NoPicture, match="header"):
        check_rows([chunk(b"IHDR", b"short")])


@pytest.mark.parametrize("rows", [1, 32, 63])
async def test_picture_without_its_last_rows_is_refused(rows: int) -> None:
    body = BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(body, "PNG")
    whole = Image.open(body)
    pixels = b"".join(b"\0" + whole.crop((0, y, 64, y + 1)).tobytes() for y in range(64))
    images = PillowImages()
    for kept in (64, rows):
        png = b"\x89PNG\r\n\x1a\n" + b"".join([*chunks_of(64, 64, pixels[: kept * 193]), chunk(b"IEND", b"")])
        if kept == 64:
            assert (await images.verify(png, covers=Size(width=64, height=64))).format == "png"
        else:
            with pytest.raises(NoPicture, match="lacks rows"):
                await images.verify(png, covers=Size(width=64, height=64))
    images.close()
