"""Formats that are not taken as uploads, told by their first bytes, and what to send instead. Pure."""

from __future__ import annotations

from typing import Final

TAKEN: Final = "jpg, png, webp, avif or gif"
_CONVERT: Final = "export it as jpg or png"
# As the standards name them: HEIF's brands, and those of films that share its boxes.
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS: Final = _HEIC_BRANDS | {b"mif1", b"msf1", b"mif2", b"miaf"}
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_MARKUP_BYTES: Final = 4_096

_BEGINNINGS: Final = (
    (b"II*\0", "a TIFF", _CONVERT),
    (b"MM\0*", "a TIFF", _CONVERT),
    (b"II+\0", "a TIFF", _CONVERT),
    (b"MM\0+", "a TIFF", _CONVERT),
    (b"BM", "a BMP", _CONVERT),
    (b"\0\0\1\0", "an icon (ICO)", _CONVERT),
    # Without a map of colours; a cursor has a number of pictures there.
    (b"\0\0\2\0\0\0", "a TGA", _CONVERT),
    (b"\0\0\n\0\0\0", "a TGA", _CONVERT),
    (b"\0\0\2\0", "a cursor (CUR)", _CONVERT),
    (b"%PDF", "a PDF", "export the page as png"),
    (b"\xff\x0a", "a JPEG XL", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL", _CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000", _CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000", _CONVERT),
    (b"8BPS", "a Photoshop document", _CONVERT),
    (b"PK\3\4", "a ZIP archive", "send the picture itself"),
    (b"\x1f\x8b", "a gzip file", "send the picture itself"),
    (b"\x1aE\xdf\xa3", "a film", "send one frame as jpg or png"),
)


def refusal_of(body: bytes) -> str:
    """Why bytes that begin like none of the formats that are taken are refused, by the name of what they are."""
    if (named := _named(body)) is None:
        return f"the file begins like no picture that is known here: send {TAKEN}"
    name, advice = named
    return f"the file is {name}, which is not taken: {advice} (taken are {TAKEN})"


def brands(body: bytes) -> list[bytes]:
    """The brands of a file of boxes (ISO 14496-12), the major one first; none of other files."""
    if body[4:8] != b"ftyp":
        return []
    box = body[8 : min(int.from_bytes(body[:4], "big"), 1_024)]
    return [box[:4], *(box[place : place + 4] for place in range(8, len(box) - 3, 4))]


def is_avif(body: bytes) -> bool:
    """Whether the file says that it is an avif, a film of such included."""
    named = brands(body)
    return bool(named) and named[0] not in _HEIC_BRANDS and not _AVIF_BRANDS.isdisjoint(named)


def _named(body: bytes) -> tuple[str, str] | None:
    """What it is, and what to do; None where nothing is known that begins so."""
    named = brands(body)
    if named and not _HEIF_BRANDS.isdisjoint(named):
        return "a HEIC", "convert it to jpg (iPhone: Settings > Camera > Formats > Most Compatible)"
    if named:
        return "a film", "send one frame as jpg or png"
    if known := next(((name, advice) for start, name, advice in _BEGINNINGS if body.startswith(start)), None):
        return known
    text = body[:_MARKUP_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return "an SVG", "export it as png"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<body")):
        return "an HTML page", "send the picture itself, not the page that shows it"
    return None
