"""Hostile uploads by class, made from a seed, each with what has to become of it."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from copperplate.imaging.header import MAX_BODY_BYTES, MAX_CHUNKS, MAX_SCANS
from copperplate.source_errors import InvalidPicture, PictureTooLarge, UnsupportedPicture
from tests.support.odd_pictures import damaged, encoded, jpeg_segment, jpeg_with, png_chunk, png_with, replaced, scene
from tests.support.upload_parts import (
    FORMATS,
    TOKEN,
    avif_film,
    box,
    exif_long,
    gif_film,
    heif,
    png_film,
    png_saying,
    webp_film,
    whole,
    with_inside,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.errors import InvalidRequest

    Outcome = type[InvalidRequest] | None

SEED = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileUpload:
    """A file, and the error it has to be refused with; None where it is a whole picture that is to be cleaned."""

    name: str
    body: bytes = field(repr=False)
    outcome: Outcome


def hostile_uploads(seed: int = SEED) -> dict[str, list[HostileUpload]]:
    """Every class with its uploads."""
    dice = random.Random(seed)
    return {name: [HostileUpload(name=what, body=body, outcome=outcome) for what, body, outcome in make(dice)]
            for name, make in CLASSES.items()}  # fmt: skip


def _polyglots(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    guests = {
        "jar": b"PK\3\4" + TOKEN + b"META-INF/MANIFEST.MF" + b"PK\5\6" + bytes(18),
        "html": b"<html><script>alert('" + TOKEN + b"')</script></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="' + TOKEN + b'"/>',
        "pdf": b"%PDF-1.7\n" + TOKEN + b"\n%%EOF",
        "php": b"<?php system('" + TOKEN + b"'); ?>",
        "shell": b"#!/bin/sh\necho " + TOKEN,
    }
    for name, guest in guests.items():
        for form in FORMATS:
            yield f"{form} with {name} behind it", whole(form) + guest, None
            yield f"{form} with {name} in its comments", with_inside(form, guest), None
            if name != "shell":
                yield f"{name} with {form} behind it", guest + whole(form), UnsupportedPicture
    yield "gif that is a script", b"GIF89a/*" + bytes(5) + b"*/=1;alert(1)", InvalidPicture
    yield "jpg that is a script", b"\xff\xd8\xff\xe0/*" + b"A" * 60 + b"*/=alert(1)", InvalidPicture


def _header_lies(dice: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    avif, gif, jpg = whole("AVIF"), whole("GIF"), whole("JPEG")
    sizes = [(dice.randrange(49, 2000), dice.randrange(49, 2000)) for _ in range(4)]
    for width, height in sizes:
        said = f"says it is {width}x{height}"
        small = struct.pack(">HH", height, width)
        yield f"jpg {said}", replaced(jpg, b"\xff\xc0", 5, small), InvalidPicture
        yield f"png {said}", png_saying(width, height, rows=bytes(999)), InvalidPicture
        yield f"avif {said}", replaced(avif, b"ispe", 8, struct.pack(">II", width, height)), InvalidPicture
        code = struct.pack("<HH", width, height)
        yield f"gif whose frame {said}", replaced(gif, b",\0\0\0\0", 5, code), InvalidPicture
        yield f"webp {said}", replaced(whole("WEBP"), b"\x9d\x01\x2a", 3, code), InvalidPicture
    for width, height in ((20_000, 20_000), (65_500, 65_500)):
        said, small = f"says it is {width}x{height}", struct.pack(">HH", height, width)
        yield f"jpg {said}", replaced(jpg, b"\xff\xc0", 5, small), PictureTooLarge
        yield f"png {said}", png_saying(width, height), PictureTooLarge
        yield f"avif {said}", replaced(avif, b"ispe", 8, struct.pack(">II", width, height)), InvalidPicture
        yield f"gif whose canvas {said}", gif[:6] + struct.pack("<HH", width, height) + gif[10:], PictureTooLarge
        code = struct.pack("<HH", width, height)
        yield f"gif whose frame {said}", replaced(gif, b",\0\0\0\0", 5, code), PictureTooLarge
    yield "png says it is 2^31 wide", png_saying(2**31 - 1, 2**31 - 1), PictureTooLarge
    yield "png says it is nothing", png_saying(0, 0), InvalidPicture
    yield "jpg says it is nothing", replaced(jpg, b"\xff\xc0", 5, bytes(4)), InvalidPicture
    yield "avif says it is nothing", replaced(avif, b"ispe", 8, bytes(8)), InvalidPicture
    # The sequence header behind the first unit: its type, its length, and the two bits before its sizes' lengths.
    huge = avif.index(b"\x12\0\x0a", avif.index(b"mdat"))
    yield "avif whose code has no header", avif[:huge] + b"\x12\0\x0a\0" + avif[huge + 4 :], InvalidPicture
    yield "avif whose code is huge", avif_of_code(16_384, 16_384), PictureTooLarge
    honest = replaced(avif_of_code(16_384, 16_384), b"ispe", 8, struct.pack(">II", 16_384, 16_384))
    yield "avif that is huge", honest, PictureTooLarge
    yield "avif whose code is wide", avif_of_code(65_536, 64), PictureTooLarge
    yield "avif whose code is of another size", avif_of_code(64, 64), InvalidPicture
    for place in (b"iloc", b"pitm", b"ipma", b"iinf", b"ispe", b"av1C"):
        yield f"avif without {place.decode()}", avif.replace(place, b"free"), InvalidPicture


def avif_of_code(width: int, height: int) -> bytes:
    """An avif of 48 x 48 px whose code says that its one frame is of another size."""
    # A still picture with a reduced header, level 0, and sizes in 16 bits; then what follows is of no matter.
    bits = "000" + "11" + "00000" + "1111" * 2 + f"{width - 1:016b}{height - 1:016b}" + "0" * 14
    header = int(bits, 2).to_bytes(8, "big")
    return _avif_with_code(lambda _, frame: bytes((len(header),)) + header + frame)


def _avif_with_code(change: Callable[[bytes, bytes], bytes]) -> bytes:
    """An avif with other code in place of its sequence header and frame, each behind its type."""
    body = whole("AVIF")
    place = body.index(b"\x12\0\x0a", body.index(b"mdat"))
    frame = place + 4 + body[place + 3]
    code = b"\x12\0\x0a" + change(body[place + 3 : frame], body[frame:])
    # The list of items says how long it is.
    was, now = struct.pack(">I", len(body) - place), struct.pack(">I", len(code))
    return body[:place].replace(was, now, 1) + code


def _bombs(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    rows = bytes(999)
    yield "webp of 34 bytes", b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(8), PictureTooLarge
    yield "png of one bit, 60000x60000", png_saying(60_000, 60_000, 1, 0, rows), PictureTooLarge
    yield "png of one bit, 4097x4096", png_saying(4097, 4096, 1, 0, bytes(514 * 4096)), PictureTooLarge
    yield "png of one bit, 2048x2048", png_saying(2048, 2048, 1, 0, bytes(257 * 2048)), None
    yield "png of one bit, without rows", png_saying(2048, 2048, 1, 0, rows), InvalidPicture
    yield "png of pixels without end", png_saying(64, 64, rows=bytes(30_000_000)), None
    yield "png of too many chunks", png_with(whole("PNG"), png_chunk(b"prVt", b"") * MAX_CHUNKS), PictureTooLarge
    jpg = encoded(scene(64).convert("L"), "JPEG", progressive=True)
    last = jpg[jpg.rindex(b"\xff\xda") :]
    scan = last[: 2 + int.from_bytes(last[2:4], "big")] + bytes(4)
    yield "jpg of too many scans", jpg[:-2] + scan * MAX_SCANS + b"\xff\xd9", PictureTooLarge
    yield "jpg of too many segments", jpeg_with(whole("JPEG"), b"\xff\xe0\0\2" * MAX_CHUNKS), InvalidPicture
    yield "jpg of filling", b"\xff\xd8" + b"\xff" * 3_000_000, InvalidPicture
    gif = whole("GIF")
    yield "gif of too many comments", gif[:781] + b"\x21\xfe\0" * 20_000 + gif[781:], PictureTooLarge
    yield "gif in parts of a byte", gif[:781] + b"\x21\xfe" + b"\1a" * 200_000 + b"\0" + gif[781:], PictureTooLarge
    yield "avif of too many boxes", whole("AVIF") + box(b"free", b"") * 20_000, PictureTooLarge
    avif = whole("AVIF")
    code = avif.index(b"\x12\0\x0a", avif.index(b"mdat"))
    yield "avif of empty boxes", avif[:32] + box(b"free", b"") * 20_000 + avif[32:], PictureTooLarge
    yield "avif of a box in itself", avif[:32] + b"\0\0\0\4meta" + avif[32:], InvalidPicture
    yield "avif of empty units", avif[:code] + b"\x12\0" * 5_000, InvalidPicture


def _films(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    for frames in (2, 10, 2_000):
        yield f"png of {frames} frames", png_film(frames), PictureTooLarge
        yield f"webp of {frames} frames", webp_film(frames), PictureTooLarge
    yield (
        "png that says it has 2^31 frames",
        png_with(whole("PNG"), png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        PictureTooLarge,
    )
    for frames in (2, 3):
        yield f"avif of {frames} frames", avif_film(frames), PictureTooLarge
    yield "avif whose picture is two", _avif_with_code(lambda head, frame: head + frame + frame), PictureTooLarge
    yield "avif that is written anew", _avif_with_code(lambda head, frame: head + frame), None
    for frames in (1, 2, 1_000):
        yield f"gif of {frames} frames", gif_film(frames), None
    for frames in (1_001, 2_000):
        yield f"gif of {frames} frames", gif_film(frames), PictureTooLarge
    yield "gif whose second frame is cut", gif_film(2)[:-40], None


def _unfolding(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    plain = whole("PNG")
    bomb, once = zlib.compress(bytes(20_000_000), 1), zlib.compress(zlib.compress(bytes(20_000_000)))
    for name, packed in {"bomb": bomb, "twice folded bomb": once, "rubbish": b"x\x9c" + TOKEN}.items():
        yield f"zTXt with a {name}", png_with(plain, png_chunk(b"zTXt", b"a\0\0" + packed)), None
        yield f"nine zTXt with a {name}", png_with(plain, png_chunk(b"zTXt", b"a\0\0" + packed) * 9), None
        yield f"iTXt with a {name}", png_with(plain, png_chunk(b"iTXt", b"a\0\1\0\0\0" + packed)), None
        yield f"iCCP with a {name}", png_with(plain, png_chunk(b"iCCP", b"a\0\0" + packed)), None
        yield f"tEXt with a {name}", png_with(plain, png_chunk(b"tEXt", b"a\0" + packed)), None


def _profiles_and_exif(dice: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    loop = b"MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, 0x8769, 4, 1, 8) + struct.pack(">I", 8)
    many = b"II*\0\x08\0\0\0\xff\xff" + bytes(12) * 4_000
    far = b"MM\0*\xff\xff\xff\xf0"
    wide = b"MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, 0x010E, 2, 2**31, 2**31)
    exifs = {"loop": loop, "many": many, "far": far, "wide": wide, "noise": dice.randbytes(900), "cut": b"MM\0*"}
    profiles = {
        "noise": dice.randbytes(3_000),
        "a head and noise": bytes(16) + b"RGB XYZ " + bytes(12) + b"acsp" + dice.randbytes(900),
        "tags without end": bytes(16) + b"RGB XYZ " + bytes(12) + b"acsp" + bytes(88) + b"\xff" * 900,
        "of another kind": bytes(16) + b"CMYKXYZ " + bytes(12) + b"acsp" + bytes(900),
        "two megabytes": bytes(2_000_000),
    }
    for form in ("JPEG", "PNG", "WEBP", "AVIF"):
        for name, exif in exifs.items():
            if form == "AVIF":
                body = replaced(whole(form, exif=exif_long()), b"\0\0\0\6Exif\0\0", 10, exif[:900])
            elif form == "JPEG":
                body = jpeg_with(whole(form), jpeg_segment(0xE1, b"Exif\0\0" + exif))
            elif form == "PNG":
                body = png_with(whole(form), png_chunk(b"eXIf", exif))
            else:
                body = whole(form, exif=exif)
            yield f"{form} with exif: {name}", body, None
        for name, profile in profiles.items():
            yield f"{form} with a profile: {name}", whole(form, icc_profile=profile), None


def _modes_and_shapes(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    image = scene(48)
    glass = image.copy()
    glass.putalpha(Image.linear_gradient("L").resize((48, 48)))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        made = image.convert("I").convert("I;16") if mode == "I;16" else glass.convert(mode)
        yield f"png of mode {mode}", encoded(made, "PNG"), None
    yield "png with a colour that is nothing", encoded(image.quantize(9), "PNG", transparency=3), None
    yield "gif with a colour that is nothing", encoded(image.quantize(9), "GIF", transparency=3), None
    for mode in ("L", "CMYK"):
        yield f"jpg of mode {mode}", encoded(image.convert(mode), "JPEG"), None
    yield "tiff of floats", encoded(image.convert("F"), "TIFF"), UnsupportedPicture
    for form in FORMATS:
        for size in ((1, 1), (15, 16), (16, 15), (16, 1_025), (1_025, 16), (1, 2_000)):
            yield f"{form} of {size[0]}x{size[1]}", encoded(image.resize(size), form), InvalidPicture
        for size in ((16, 16), (16, 1_024), (1_024, 16)):
            yield f"{form} of {size[0]}x{size[1]}", encoded(image.resize(size), form), None
    for size in ((1, 16_384), (16_384, 1)):
        yield f"png of {size[0]}x{size[1]}", encoded(Image.new("L", size), "PNG"), InvalidPicture
        yield f"gif of {size[0]}x{size[1]}", encoded(Image.new("L", size), "GIF"), InvalidPicture


def _cut(dice: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    progressive = encoded(scene(96), "JPEG", progressive=True)
    for name, body in (("jpg", whole("JPEG")), ("progressive jpg", progressive)):
        places = [place for place in range(3, len(body) - 2) if body[place] == 0xFF and body[place + 1] not in {0, 255}]
        for place in places:
            yield f"{name} cut at its marker at {place}", body[:place], InvalidPicture
    for form in ("PNG", "WEBP", "AVIF", "GIF"):
        body = whole(form)
        for tenth in range(1, 10):
            yield f"{form} cut at {tenth}/10", body[: len(body) * tenth // 10], InvalidPicture
        cut = dice.randrange(40, len(body) * 9 // 10)
        yield f"{form} cut at {cut}", body[:cut], InvalidPicture
    for name, code in {"ends early": b"\x02\x44\x0a", "never ends": b"\x02\x44\0", "clears": b"\x02\x24\x49"}.items():
        gif = b"GIF89a\x10\0\x10\0\x80\0\0" + bytes(range(6)) + b",\0\0\0\0\x10\0\x10\0\0" + code[:1]
        yield f"gif whose code {name}", gif + b"\x02" + code[1:] + b"\0;", InvalidPicture
    for form in ("JPEG", "PNG", "WEBP"):
        for way, body in damaged(encoded(scene(96), form), form).items():
            yield f"{form}: {way}", body, InvalidPicture


def _checksums(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    plain = whole("PNG")
    pixels = plain.index(b"IDAT") - 4
    length = int.from_bytes(plain[pixels : pixels + 4], "big")
    yield "header", plain[:29] + bytes(4) + plain[33:], InvalidPicture
    yield "pixels", plain[: pixels + 8 + length] + bytes(4) + plain[pixels + 12 + length :], InvalidPicture
    yield "end", plain[:-4] + bytes(4), None
    for name in (b"tEXt", b"iCCP", b"gAMA", b"eXIf", b"zTXt"):
        yield f"{name.decode()}", png_with(plain, png_chunk(name, b"a\0" + TOKEN, crc_xor=1)), None
    yield "unfolding", replaced(plain, b"IDAT", 4 + length // 2, b"\0\0\0"), InvalidPicture


def _other_formats(dice: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    image = scene(48)
    for major in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        yield f"heic of brand {major.decode()}", heif(major, b"mif1", b"heic"), UnsupportedPicture
    yield "heic that says it is an avif too", heif(b"heic", b"avif", b"mif1"), UnsupportedPicture
    yield "heic called avif", heif(b"avif", b"heic", b"mif1"), InvalidPicture
    for major in (b"isom", b"mp42", b"qt  ", b"crx "):
        yield f"film of brand {major.decode()}", heif(major), UnsupportedPicture
    for form in ("TIFF", "BMP", "ICO", "PPM", "PCX", "TGA", "SGI", "JPEG2000", "DDS", "PDF", "EPS"):
        yield form, encoded(image, form), UnsupportedPicture
    bodies = {
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "svg with a declaration": b'<?xml version="1.0"?>\n<svg onload="alert(1)"/>',
        "svg with a doctype and entities": b'<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>',
        "svg behind spaces": b"\xef\xbb\xbf \n\t<svg/>",
        "html": b"<!doctype html><html></html>",
        "json": b'{"url": "https://example.org/a.png"}',
        "text": b"Service Unavailable",
        "jxl": b"\xff\x0a" + bytes(99),
        "jxl in boxes": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99),
        "jpeg 2000 code": b"\xff\x4f\xff\x51" + bytes(99),
        "big tiff": b"II+\0\x08\0\0\0" + bytes(99),
        "big-endian tiff": b"MM\0*" + bytes(99),
        "ico with huge entries": b"\0\0\1\0\xff\xff" + b"\0\0\0\0\1\0\x20\0\xff\xff\xff\x7f\x16\0\0\0" * 99,
        "cursor": b"\0\0\2\0\1\0" + bytes(99),
        "photoshop": b"8BPS\0\1" + bytes(99),
        "zip": b"PK\3\4" + bytes(99),
        "gzip": b"\x1f\x8b\x08" + bytes(99),
        "matroska": b"\x1aE\xdf\xa3" + bytes(99),
        "mp3": b"ID3\4" + bytes(99),
        "elf": b"\x7fELF" + bytes(99),
        "riff that is no webp": b"RIFF\x99\0\0\0WAVE" + bytes(99),
        "zeros": bytes(999),
        **{f"noise {number}": b"\x07" + dice.randbytes(300) for number in range(9)},
    }
    for name, body in bodies.items():
        yield name, body, UnsupportedPicture


def _nothing(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    yield "no bytes", b"", InvalidPicture
    for form in ("JPEG", "PNG", "GIF", "WEBP"):
        start = {"JPEG": 3, "PNG": 8, "GIF": 6, "WEBP": 12}[form]
        body = whole(form)
        for length in (1, start - 1):
            yield f"{length} bytes of a {form}", body[:length], UnsupportedPicture
        for length in (start, start + 1, start + 9):
            yield f"{length} bytes of a {form}", body[:length], InvalidPicture


def _trailing(dice: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    for form in FORMATS:
        body = whole(form)
        for length in (1, 7, 512, 70_000):
            yield f"{form} and {length} bytes of noise", body + dice.randbytes(length), None
        yield f"{form} and another", body + whole("JPEG", 9) + TOKEN, None


def _at_the_limit(_: random.Random) -> Iterator[tuple[str, bytes, Outcome]]:
    jpg, png = whole("JPEG"), whole("PNG")
    yield "a byte below", jpg + bytes(MAX_BODY_BYTES - len(jpg) - 1), None
    yield "exactly", png + bytes(MAX_BODY_BYTES - len(png)), None
    yield "a byte above", jpg + bytes(MAX_BODY_BYTES - len(jpg) + 1), PictureTooLarge


CLASSES: dict[str, Callable[[random.Random], Iterator[tuple[str, bytes, Outcome]]]] = {
    "polyglots": _polyglots,
    "header lies": _header_lies,
    "bombs": _bombs,
    "films": _films,
    "comments that unfold": _unfolding,
    "profiles and exif": _profiles_and_exif,
    "modes and shapes": _modes_and_shapes,
    "cut and damaged": _cut,
    "wrong checksums": _checksums,
    "other formats": _other_formats,
    "nothing or next to it": _nothing,
    "trailing bytes": _trailing,
    "at the limit of bytes": _at_the_limit,
}
