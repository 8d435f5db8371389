"""Pictures with something odd about them, and pictures with something missing, made from a good one."""

from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
FORMATS = ("JPEG", "PNG", "WEBP")


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """The picture's file."""
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def scene(side: int = 160, seed: int = 7) -> Image.Image:
    """A soft landscape with grain: no part of its file repeats another."""
    dice = random.Random(seed)
    small = Image.new("RGB", (9, 9))
    small.putdata([(dice.randrange(40, 220), dice.randrange(256), dice.randrange(90, 256)) for _ in range(81)])
    grain = Image.frombytes("RGB", (side, side), dice.randbytes(3 * side * side))
    return Image.blend(small.resize((side, side), Image.Resampling.BICUBIC), grain, 0.08)


# --- parts of files -------------------------------------------------------------------------------


def png_chunk(name: bytes, content: bytes, *, crc_xor: int = 0) -> bytes:
    """A chunk of a png; with `crc_xor`, one whose checksum is wrong."""
    checksum = zlib.crc32(name + content) ^ crc_xor
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_with(body: bytes, *chunks: bytes) -> bytes:
    """The png with more chunks behind its header."""
    return body[:33] + b"".join(chunks) + body[33:]


def png_without_rows(body: bytes, missing: int) -> bytes:
    """The png, whole by its checksums, whose pixels end so many rows early."""
    pixels = body.index(b"IDAT") - 4
    rows = zlib.decompress(b"".join(_contents(body, pixels)))
    height = int.from_bytes(body[20:24], "big")
    kept = rows[: -missing * (len(rows) // height)]
    return body[:pixels] + png_chunk(b"IDAT", zlib.compress(kept)) + png_chunk(b"IEND", b"")


def _contents(body: bytes, place: int) -> Iterator[bytes]:
    while body[place + 4 : place + 8] == b"IDAT":
        length = int.from_bytes(body[place : place + 4], "big")
        yield body[place + 8 : place + 8 + length]
        place += 12 + length


def jpeg_with(body: bytes, *segments: bytes) -> bytes:
    """The jpg with more segments behind its start."""
    return body[:2] + b"".join(segments) + body[2:]


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """A segment of a jpg."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def webp_with(body: bytes, name: bytes, content: bytes) -> bytes:
    """The webp with one more chunk at its end."""
    inside = body[8:] + name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def replaced(body: bytes, what: bytes, offset: int, by: bytes) -> bytes:
    """The file with other bytes so far behind the first `what`."""
    place = body.index(what) + offset
    return body[:place] + by + body[place + len(by) :]


# --- whole, though odd ----------------------------------------------------------------------------


def odd_jpegs() -> dict[str, bytes]:
    """Whole pictures that a strict reader of the whole file stumbles over."""
    image = scene()
    plain, other = encoded(image, "JPEG"), scene(seed=8)
    exif = Image.Exif()
    exif[0x0112] = 3
    table = jpeg_segment(0xDB, bytes(range(65)))
    return {
        "no end marker": plain[:-2],
        "half an end marker": plain[:-1],
        "rubbish behind the end": plain + b"rubbish" * 99,
        "zeros before the end marker": plain[:-2] + b"\0" * 300 + b"\xff\xd9",
        "zeros and no end marker": plain[:-2] + b"\0" * 4096,
        "zeros and a table before the end marker": plain[:-2] + bytes(300) + table + b"\xff\xd9",
        "zeros, a comment and no end marker": plain[:-2] + bytes(300) + jpeg_segment(0xFE, b"by hand"),
        "progressive, then zeros and a table": encoded(image, "JPEG", progressive=True)[:-2] + bytes(300) + table,
        "filling before the end marker": plain[:-2] + b"\xff" * 9 + b"\xff\xd9",
        "a second picture behind it": encoded(image, "MPO", save_all=True, append_images=[other]),
        "a broken thumbnail": jpeg_with(
            plain, jpeg_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff\xd8" * 40)
        ),
        "exif that is rubbish": jpeg_with(plain, jpeg_segment(0xE1, b"Exif\0\0" + bytes(range(256)))),
        "upside down": encoded(image, "JPEG", exif=exif),
        "rubbish between segments": plain[:20] + b"abc" + plain[20:],
        "an unknown JFIF version": plain[:11] + b"\x09" + plain[12:],
        "an unknown Adobe transform": replaced(encoded(image.convert("CMYK"), "JPEG"), b"Adobe", 11, b"\x07"),
        "an empty band": replaced(plain, b"\xff\xda", 11, b"\0\0\0"),
        "a profile that is rubbish": encoded(image, "JPEG", icc_profile=b"rubbish" * 40),
        "a comment": encoded(image, "JPEG", comment=b"x" * 60_000),
        "progressive": encoded(image, "JPEG", progressive=True),
        "progressive without an end": encoded(image, "JPEG", progressive=True)[:-2],
        "grey": encoded(image.convert("L"), "JPEG"),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "rgb": encoded(image, "JPEG", keep_rgb=True),
        "restart markers": encoded(image, "JPEG", restart_marker_blocks=7),
        "4:1:1": encoded(image, "JPEG", subsampling="4:1:1"),
        "4:4:4 at quality 100": encoded(image, "JPEG", subsampling=0, quality=100),
        "quality 1": encoded(image, "JPEG", quality=1),
        "c2pa": jpeg_with(plain, jpeg_segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb\0\0\0\x20jumdc2pa" + bytes(40))),
    }


def odd_pngs() -> dict[str, bytes]:
    """Whole pictures whose chunks, but for those that hold pixels, are odd."""
    plain = encoded(scene(), "PNG")
    text, packed = b"Comment\0hello", b"icc\0\0" + zlib.compress(b"no profile" * 99)
    palette, glass = encoded(scene().quantize(16), "PNG"), scene()
    glass.putalpha(Image.linear_gradient("L").resize(glass.size))
    pixels = plain.index(b"IDAT") - 4
    return {
        "text with a wrong checksum": png_with(plain, png_chunk(b"tEXt", text, crc_xor=1)),
        "a text that unfolds to a gigabyte": png_with(
            plain, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000), 1)) * 9
        ),
        "a text that does not unfold": png_with(plain, png_chunk(b"zTXt", b"a\0\0rubbish")),
        "a profile that does not unfold": png_with(plain, png_chunk(b"iCCP", b"icc\0\0rubbish")),
        "a profile that is rubbish": png_with(plain, png_chunk(b"iCCP", packed)),
        "a profile with a wrong checksum": png_with(plain, png_chunk(b"iCCP", packed, crc_xor=9)),
        "a gamma with a wrong checksum": png_with(plain, png_chunk(b"gAMA", struct.pack(">I", 100_000), crc_xor=1)),
        "a gamma of zero": png_with(plain, png_chunk(b"gAMA", bytes(4))),
        "a gamma that is cut": png_with(plain, png_chunk(b"gAMA", b"\0\1")),
        "chromaticities of zero": png_with(plain, png_chunk(b"cHRM", bytes(32))),
        "chromaticities that are cut": png_with(plain, png_chunk(b"cHRM", bytes(9))),
        "an empty sRGB": png_with(plain, png_chunk(b"sRGB", b"")),
        "a transparency of another length": png_with(plain, png_chunk(b"tRNS", b"\0")),
        "a transparency beside alpha": png_with(encoded(glass, "PNG"), png_chunk(b"tRNS", bytes(6))),
        "more transparency than palette": palette[: (at := palette.index(b"IDAT") - 4)]
        + png_chunk(b"tRNS", b"\x80" * 40)
        + palette[at:],
        "exif that is rubbish": png_with(plain, png_chunk(b"eXIf", bytes(range(99)))),
        "a private chunk": png_with(plain, png_chunk(b"prVt", bytes(99))),
        "a size in metres of no bytes": png_with(plain, png_chunk(b"pHYs", b"")),
        "a time of the year 65535": png_with(plain, png_chunk(b"tIME", b"\xff" * 7)),
        "c2pa": png_with(plain, png_chunk(b"caBX", b"jumb" + bytes(300))),
        "no end": plain[:-12],
        "half an end": plain[:-5],
        "rubbish behind the end": plain + b"rubbish" * 99,
        "an animation of one frame": png_with(plain, png_chunk(b"acTL", struct.pack(">II", 1, 0))),
        "text behind the pixels, cut": plain[:-12] + png_chunk(b"tEXt", text)[:-6],
        "interlaced": interlaced(),
        "pixels in many chunks": plain[:pixels] + _in_small_chunks(plain) + plain[-12:],
    }


def _in_small_chunks(plain: bytes) -> bytes:
    pixels = plain[plain.index(b"IDAT") + 4 : -16]
    return b"".join(png_chunk(b"IDAT", pixels[start : start + 500]) for start in range(0, len(pixels), 500))


def interlaced() -> bytes:
    """A png in Adam7 order, which Pillow reads and does not write."""
    image = scene(16)
    rows = b""
    for left, top, right, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        for y in range(top, 16, down):
            rows += b"\0" + b"".join(bytes(image.getpixel((x, y))) for x in range(left, 16, right))  # type: ignore[arg-type]
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 1)
    return PNG_SIGNATURE + b"".join(
        (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    )


def odd_webps() -> dict[str, bytes]:
    """Whole pictures whose chunks, but for those that hold pixels, are odd."""
    plain, glass = encoded(scene(), "WEBP"), scene()
    glass.putalpha(Image.linear_gradient("L").resize(glass.size))
    extended = encoded(scene(), "WEBP", icc_profile=b"rubbish" * 40)
    return {
        "rubbish behind the end": plain + b"rubbish" * 99,
        "pixels of another picture behind the end": plain + encoded(scene(seed=8), "WEBP")[12:],
        "frames of a film behind the end": plain + b"ANMF" + struct.pack("<I", 99) + bytes(99),
        "pixels of another picture within": webp_with(plain, b"VP8 ", encoded(scene(seed=8), "WEBP")[20:]),
        "a second picture that is cut": webp_with(plain, b"VP8 ", encoded(scene(seed=8), "WEBP")[20:])[:-400],
        "lossless pixels behind lossy ones": webp_with(plain, b"VP8L", encoded(scene(), "WEBP", lossless=True)[20:]),
        "alpha behind the pixels": webp_with(extended, b"ALPH", b"\1" + bytes(99)),
        "a profile twice": webp_with(extended, b"ICCP", b"other" * 9),
        "a length that is too large": plain[:4] + struct.pack("<I", len(plain) + 5000) + plain[8:],
        "a length of zero": plain[:4] + bytes(4) + plain[8:],
        "an unknown chunk": webp_with(extended, b"WHAT", bytes(99)),
        "an unknown chunk that is cut": webp_with(extended, b"WHAT", bytes(99))[:-40],
        "a profile that is rubbish": extended,
        "exif that is rubbish": encoded(scene(), "WEBP", exif=b"Exif\0\0" + bytes(range(99))),
        "c2pa": webp_with(extended, b"C2PA", bytes(99)),
        "lossless": encoded(scene(), "WEBP", lossless=True),
        "alpha": encoded(glass, "WEBP"),
        "lossless alpha": encoded(glass, "WEBP", lossless=True),
        "quality 1": encoded(scene(), "WEBP", quality=1),
        "flat for the most part": encoded(_flat(), "WEBP", lossless=True, quality=0, method=0),
        "zeros behind the pixels": _with_zeros(plain),
    }


def _flat() -> Image.Image:
    flat = Image.new("RGB", (600, 600), "white")
    flat.paste("red", (10, 10, 90, 90))
    return flat


def _with_zeros(plain: bytes) -> bytes:
    pixels = plain[20:] + bytes(100)
    return plain[:4] + struct.pack("<I", 12 + len(pixels)) + b"WEBPVP8 " + struct.pack("<I", len(pixels)) + pixels


# --- damaged --------------------------------------------------------------------------------------


def _start_of_pixels(body: bytes, form: str) -> int:
    return body.index({"JPEG": b"\xff\xda", "PNG": b"IDAT", "WEBP": b"VP8"}[form]) + 16


def _tenth(body: bytes) -> int:
    return len(body) // 10


def _noise(count: int, seed: int) -> bytes:
    return bytes(1 + value % 254 for value in random.Random(seed).randbytes(count))


def damages(form: str) -> dict[str, Callable[[bytes, int], bytes]]:
    """Ways to spoil a file of a format: each takes the bytes and the place to begin at."""
    ways: dict[str, Callable[[bytes, int], bytes]] = {
        "cut": lambda body, place: body[:place],
        "the rest is zeros": lambda body, place: body[:place] + bytes(len(body) - place),
        "a tenth is zeros": lambda body, place: body[:place] + bytes(_tenth(body)) + body[place + _tenth(body) :],
        "a tenth is missing": lambda body, place: body[:place] + body[place + _tenth(body) :],
        "the rest is a page of html": lambda body, place: body[:place] + b"<html>504 Gateway Time-out</html>" * 30,
    }
    if form != "WEBP":
        ways["a tenth is there twice"] = lambda body, place: body[: place + _tenth(body)] + body[place:]
        ways["the rest is noise"] = lambda body, place: body[:place] + _noise(len(body) - place, place)
    if form == "PNG":
        ways["a bit is flipped"] = lambda body, place: body[:place] + bytes((body[place] ^ 8,)) + body[place + 1 :]
    if form == "JPEG":
        ways["cut, with an end marker"] = lambda body, place: body[:place] + b"\xff\xd9"
        ways["the rest is zeros, with an end marker"] = lambda body, place: (
            body[:place] + bytes(len(body) - place - 2) + b"\xff\xd9"
        )
    return ways


def damaged(body: bytes, form: str, *, tenths: tuple[int, ...] = (2, 5, 8)) -> dict[str, bytes]:
    """The file spoilt in each way, at each of these tenths of its coded pixels."""
    start = _start_of_pixels(body, form)
    return {
        f"{way} at {tenth}/10": spoil(body, start + (len(body) - start) * tenth // 10)
        for way, spoil in damages(form).items()
        for tenth in tenths
    }
