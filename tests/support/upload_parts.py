"""Parts of hostile uploads: films of tiny frames, boxes of an avif, and files tagged with what must not go on."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.support.odd_pictures import (
    PNG_SIGNATURE,
    encoded,
    jpeg_segment,
    jpeg_with,
    png_chunk,
    png_with,
    scene,
    webp_with,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF")
SIDE = 48
# Stands in everything that must not be in a clean picture.
TOKEN = b"F0RE1GN-BYTES"


def whole(form: str, seed: int = 7, **options: Any) -> bytes:
    """A small picture of a format."""
    return encoded(scene(SIDE, seed), form, **options)


def with_inside(form: str, content: bytes) -> bytes:
    """A whole picture that carries `content` where its format has room for comments."""
    body = whole(form)
    match form:
        case "JPEG":
            return jpeg_with(body, jpeg_segment(0xFE, content), jpeg_segment(0xED, b"Photoshop 3.0\0" + content))
        case "PNG":
            return png_with(body, png_chunk(b"tEXt", b"Comment\0" + content), png_chunk(b"prVt", content))
        case "WEBP":
            return webp_with(webp_with(body, b"XMP ", content), b"WHAT", content)
        case "AVIF":
            return body + box(b"free", content)
        case _:
            parts = [content[start : start + 255] for start in range(0, len(content), 255)]
            comment = b"\x21\xfe" + b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
            place = 13 + gif_table_bytes(body[10])
            return body[:place] + comment + body[place:]


def gif_table_bytes(flags: int) -> int:
    """How many bytes of colours follow these flags."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def box(name: bytes, content: bytes) -> bytes:
    """A box of ISO 14496-12."""
    return struct.pack(">I", 8 + len(content)) + name + content


def heif(major: bytes, *compatible: bytes) -> bytes:
    """The beginning of a file of boxes with these brands."""
    return box(b"ftyp", major + bytes(4) + b"".join(compatible)) + box(b"meta", bytes(40)) + box(b"mdat", bytes(99))


def gif_film(frames: int) -> bytes:
    """A gif of so many frames of 16 x 16 px."""
    image = encoded(Image.linear_gradient("L").resize((16, 16)), "GIF")
    place = image.index(b"\x2c", 13 + gif_table_bytes(image[10]))
    return image[:place] + image[place:-1] * frames + b";"


def png_film(frames: int) -> bytes:
    """An animated png that says it has so many frames, and has a control and pixels for each."""
    plain = encoded(scene(16), "PNG")
    pixels = plain.index(b"IDAT") - 4
    control = struct.pack(">IIIIHHBB", 16, 16, 0, 0, 1, 25, 0, 0)
    packed = zlib.compress(bytes(16 * 49))
    more = b"".join(
        png_chunk(b"fcTL", struct.pack(">I", 2 * number + 1) + control)
        + png_chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + packed)
        for number in range(frames - 1)
    )
    first = png_chunk(b"acTL", struct.pack(">II", frames, 0)) + png_chunk(b"fcTL", bytes(4) + control)
    return plain[:pixels] + first + plain[pixels:-12] + more + plain[-12:]


def webp_film(frames: int) -> bytes:
    """An animated webp of so many frames of 16 x 16 px."""
    pixels = encoded(scene(16), "WEBP")[12:]
    frame = bytes(6) + b"\x0f\0\0\x0f\0\0" + b"\x28\0\0\0" + pixels
    inside = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0\x0f\0\0\x0f\0\0"
    inside += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    inside += (b"ANMF" + struct.pack("<I", len(frame)) + frame + b"\0" * (len(frame) % 2)) * frames
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def avif_film(frames: int) -> bytes:
    """An animated avif."""
    first, *others = (scene(32, seed) for seed in range(frames))
    return encoded(first, "AVIF", save_all=True, append_images=others, speed=10)


def png_saying(width: int, height: int, depth: int = 8, colours: int = 2, rows: bytes = b"") -> bytes:
    """A png of another size than its pixels have."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows, 9)), png_chunk(b"IEND", b"")
    return PNG_SIGNATURE + b"".join(chunks)


def exif_of(content: bytes) -> bytes:
    """EXIF of a camera with a place on earth, a comment and a picture turned on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = content.decode() + " description"
    exif[0x010F] = content.decode() + " maker"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (52.0, 31.0, 12.5), "E", (13.0, 24.0, 18.0)
    gps[29] = content.decode()[:10]
    return exif.tobytes()


def exif_long() -> bytes:
    """EXIF with room for other EXIF."""
    exif = Image.Exif()
    exif[0x010E] = "x" * 2_000
    return exif.tobytes()


def tagged(form: str, seed: int) -> bytes:
    """A whole picture that tells who made it, where and with what, in every way its format has."""
    token = TOKEN + b" %d" % seed
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + token + b"</x:xmpmeta>"
    options: dict[str, Any] = {} if form == "GIF" else {"exif": exif_of(token)}
    if form in {"JPEG", "WEBP", "AVIF"}:
        options["xmp"] = xmp
    body = encoded(scene(SIDE, seed), form, **options)
    ways: dict[str, Callable[[], bytes]] = {
        "JPEG": lambda: jpeg_with(body, jpeg_segment(0xED, token), jpeg_segment(0xFE, token)),
        "PNG": lambda: png_with(
            body,
            png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
            png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(token)),
        ),
        "WEBP": lambda: webp_with(body, b"C2PA", token),
        "AVIF": lambda: body + box(b"uuid", token),
        "GIF": lambda: _gif_with_xmp(body, xmp),
    }
    return ways[form]() + token


def _gif_with_xmp(body: bytes, xmp: bytes) -> bytes:
    place = 13 + gif_table_bytes(body[10])
    return body[:place] + b"\x21\xff\x0bXMP DataXMP" + bytes((len(xmp),)) + xmp + b"\0" + body[place:]
