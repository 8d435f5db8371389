"""Small pictures in every way a file can mean its colours: what a browser shows of them is the reference.

Not here: PQ and HLG, which each screen shows otherwise, and code points of YUV, which browsers do not show at all.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from PIL import Image

from copperplate.imaging import icc
from tests.support.odd_pictures import PNG_SIGNATURE, encoded, png_chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

PATCHES = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 60),
    (30, 90, 150), (128, 128, 128), (255, 255, 255), (16, 16, 16),
)  # fmt: skip
PATCH_PX = 8
WIDTH, HEIGHT = PATCH_PX * len(PATCHES), PATCH_PX

P3 = icc.matrix_profile(icc.P3_PRIMARIES, icc.WHITE_D65, icc.SRGB_CURVE) or b""
ADOBE_RGB = icc.matrix_profile(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), icc.WHITE_D65, (2.19921875,)) or b""
LINEAR = icc.matrix_profile(icc.SRGB_PRIMARIES, icc.WHITE_D65, (1.0,)) or b""


def grey_profile(gamma: float) -> bytes:
    """A profile of greys."""
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    return profile(
        {b"wtpt": b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061), b"kTRC": curve}, b"GRAYXYZ "
    )


def cmyk_profile() -> bytes:
    """A profile of inks: a table of sixteen colours in Lab, greenish where nothing is printed."""
    table = b""
    for ink in range(16):
        c, m, y, k = (ink >> 3 & 1, ink >> 2 & 1, ink >> 1 & 1, ink & 1)
        light = max(10, 245 - 50 * c - 70 * m - 20 * y - 150 * k)
        table += bytes((light, 128 + 50 * m - 50 * c - 10, 128 + 60 * y - 50 * c + 10))
    ramp = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return profile(
        {
            b"wtpt": b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061),
            b"A2B0": head + ramp * 4 + table + ramp * 3,
        },
        b"CMYKLab ",
        b"prtr",
    )


def profile(tags: dict[bytes, bytes], spaces: bytes, device: bytes = b"mntr") -> bytes:
    """An ICC profile with these tags."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"t\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"n\0",
        **tags,
    }
    table, content, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    body = struct.pack(">I", len(tags)) + table + content
    head = struct.pack(">I4xI", 128 + len(body), 0x02400000) + device + spaces + bytes(12) + b"acsp" + bytes(28)
    return head + struct.pack(">iii", 63190, 65536, 54061) + bytes(48) + body


def png(color_type: int, depth: int, pixels: Sequence[Sequence[int]], *chunks: bytes) -> bytes:
    """A png of patches, each a tuple of samples as they stand in the file."""
    row = b""
    if depth == 8:
        row = b"".join(bytes(patch) * PATCH_PX for patch in pixels)
    elif depth == 16:
        row = b"".join(struct.pack(f">{len(patch)}H", *patch) * PATCH_PX for patch in pixels)
    else:
        bits = "".join(f"{patch[0]:0{depth}b}" * PATCH_PX for patch in pixels)
        row = int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, 0)
    return PNG_SIGNATURE + b"".join(
        (
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", zlib.compress((b"\0" + row) * HEIGHT)),
            png_chunk(b"IEND", b""),
        )
    )


def iccp(icc_profile: bytes) -> bytes:
    """The chunk that holds a profile."""
    return png_chunk(b"iCCP", b"p\0\0" + zlib.compress(icc_profile))


def gama(gamma: float) -> bytes:
    """The chunk that tells the exponent, as files do: 0.45455 for 2.2."""
    return png_chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(primaries: Sequence[tuple[float, float]], white: tuple[float, float] = icc.WHITE_D65) -> bytes:
    """The chunk that tells chromaticities."""
    values = [value for point in (white, *primaries) for value in point]
    return png_chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    """The chunk of coding-independent code points."""
    return png_chunk(b"cICP", bytes((primaries, transfer, matrix, full)))


SRGB = png_chunk(b"sRGB", b"\0")
RGB16 = [tuple(value * 257 for value in patch) for patch in PATCHES]
GREYS = [(0,), (32,), (64,), (100,), (128,), (180,), (220,), (255,)]
ALPHAS = (255, 0, 128, 64, 200, 255, 10, 90)

COLOURS: dict[str, tuple[bytes, ...]] = {
    "nothing": (),
    "sRGB": (SRGB,),
    "p3 profile": (iccp(P3),),
    "adobe profile": (iccp(ADOBE_RGB),),
    "linear profile": (iccp(LINEAR),),
    "grey profile": (iccp(grey_profile(1.0)),),
    "cmyk profile": (iccp(cmyk_profile()),),
    "gamma 1": (gama(1.0),),
    "gamma 2.2": (gama(0.45455),),
    "gamma 1.8": (gama(0.55556),),
    "p3 chromaticities": (chrm(icc.P3_PRIMARIES),),
    "p3 chromaticities and gamma 2.2": (gama(0.45455), chrm(icc.P3_PRIMARIES)),
    "srgb chromaticities and gamma 1": (gama(1.0), chrm(icc.SRGB_PRIMARIES)),
    "white D50": (gama(0.45455), chrm(icc.SRGB_PRIMARIES, (0.3457, 0.3585))),
    "sRGB over gamma 1": (SRGB, gama(1.0)),
    "profile over gamma 1": (gama(1.0), iccp(P3)),
    "cicp p3": (cicp(12, 13),),
    "cicp over profile": (cicp(12, 13), iccp(LINEAR)),
    "cicp over sRGB": (cicp(12, 13), SRGB),
    "cicp srgb": (cicp(1, 13),),
    "cicp linear": (cicp(1, 8),),
    "cicp 709": (cicp(1, 1),),
    "cicp 2020": (cicp(9, 13),),
    "cicp gamma 2.2": (cicp(1, 4),),
    "cicp gamma 2.8": (cicp(1, 5),),
    "cicp 2020 with its curve": (cicp(9, 14),),
    "cicp unknown": (cicp(2, 2),),
    "cicp limited range": (cicp(12, 13, 0, 0),),
}


def _indexed(count: int) -> bytes:
    return png_chunk(b"PLTE", b"".join(bytes(patch) for patch in PATCHES[:count]))


def colour_types(chunks: tuple[bytes, ...]) -> dict[str, bytes]:
    """The patches in each colour type of png, beside these chunks."""
    key = png_chunk(b"tRNS", struct.pack(">3H", *PATCHES[3]))
    key16 = png_chunk(b"tRNS", struct.pack(">3H", *RGB16[3]))
    glass = [(grey, alpha) for (grey,), alpha in zip(GREYS, ALPHAS, strict=True)]
    places = [(number,) for number in range(8)]
    return {
        "grey": png(0, 8, GREYS, *chunks),
        "grey 1": png(0, 1, [(number % 2,) for number in range(8)], *chunks),
        "grey 4": png(0, 4, [(2 * number,) for number in range(8)], *chunks),
        "grey 16": png(0, 16, [(value * 257,) for (value,) in GREYS], *chunks),
        "grey trns": png(0, 8, GREYS, *chunks, png_chunk(b"tRNS", b"\0\x64")),
        "grey 16 trns": png(0, 16, [(value * 257,) for (value,) in GREYS], *chunks, png_chunk(b"tRNS", b"\x64\x64")),
        "grey alpha": png(4, 8, glass, *chunks),
        "grey alpha 16": png(4, 16, [(grey * 257, alpha * 257) for grey, alpha in glass], *chunks),
        "palette": png(3, 8, places, *chunks, _indexed(8)),
        "palette 4": png(3, 4, places, *chunks, _indexed(8)),
        "palette trns": png(3, 8, places, *chunks, _indexed(8), png_chunk(b"tRNS", bytes(ALPHAS))),
        "palette short trns": png(3, 8, places, *chunks, _indexed(8), png_chunk(b"tRNS", bytes(ALPHAS[:4]))),
        "rgb": png(2, 8, PATCHES, *chunks),
        "rgb 16": png(2, 16, RGB16, *chunks),
        "rgb trns": png(2, 8, PATCHES, *chunks, key),
        "rgb 16 trns": png(2, 16, RGB16, *chunks, key16),
        "rgba": png(6, 8, [(*patch, alpha) for patch, alpha in zip(PATCHES, ALPHAS, strict=True)], *chunks),
        "rgba 16": png(6, 16, [(*patch, alpha * 257) for patch, alpha in zip(RGB16, ALPHAS, strict=True)], *chunks),
    }  # fmt: skip


def patches(mode: str = "RGB") -> Image.Image:
    """The patches as a picture; as CMYK, inks of our own."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for number, patch in enumerate(PATCHES):
        image.paste(patch, (number * PATCH_PX, 0, (number + 1) * PATCH_PX, HEIGHT))
    if mode == "RGBA":
        alpha = Image.new("L", image.size)
        for number, value in enumerate(ALPHAS):
            alpha.paste(value, (number * PATCH_PX, 0, (number + 1) * PATCH_PX, HEIGHT))
        image.putalpha(alpha)
        return image
    return image.convert(mode)


def other_formats() -> dict[str, tuple[bytes, str]]:
    """Jpegs and webps, with their media types."""
    exact: dict[str, Any] = {"quality": 100, "subsampling": 0}
    jpegs = {
        "jpg": encoded(patches(), "JPEG", **exact),
        "jpg p3": encoded(patches(), "JPEG", icc_profile=P3, **exact),
        "jpg adobe rgb": encoded(patches(), "JPEG", icc_profile=ADOBE_RGB, **exact),
        "jpg grey": encoded(patches("L"), "JPEG", quality=100),
        "jpg grey profile": encoded(patches("L"), "JPEG", quality=100, icc_profile=grey_profile(1.0)),
        "jpg grey with p3": encoded(patches("L"), "JPEG", quality=100, icc_profile=P3),
        "jpg with a grey profile": encoded(patches(), "JPEG", icc_profile=grey_profile(1.0), **exact),
        "jpg with a cmyk profile": encoded(patches(), "JPEG", icc_profile=cmyk_profile(), **exact),
        "jpg cmyk": encoded(patches("CMYK"), "JPEG", quality=100),
        "jpg cmyk with a profile": encoded(patches("CMYK"), "JPEG", quality=100, icc_profile=cmyk_profile()),
        "jpg cmyk with p3": encoded(patches("CMYK"), "JPEG", quality=100, icc_profile=P3),
        "jpg rgb": encoded(patches(), "JPEG", keep_rgb=True, quality=100),
        "jpg progressive p3": encoded(patches(), "JPEG", icc_profile=P3, progressive=True, **exact),
    }
    webps = {
        "webp": encoded(patches(), "WEBP", lossless=True),
        "webp p3": encoded(patches(), "WEBP", lossless=True, icc_profile=P3),
        "webp linear": encoded(patches(), "WEBP", lossless=True, icc_profile=LINEAR),
        "webp alpha p3": encoded(patches("RGBA"), "WEBP", lossless=True, exact=True, icc_profile=P3),
        "webp with a grey profile": encoded(patches(), "WEBP", lossless=True, icc_profile=grey_profile(1.0)),
    }
    made = {name: (body, "image/jpeg") for name, body in jpegs.items()}
    return made | {name: (body, "image/webp") for name, body in webps.items()}


def all_cases() -> dict[str, tuple[bytes, str]]:
    """Every case, with its media type."""
    pngs = {
        f"png {kind}, {name}": (body, "image/png")
        for name, chunks in COLOURS.items()
        for kind, body in colour_types(chunks).items()
        if kind in {"rgb", "grey"}
        or name in {"nothing", "p3 profile", "gamma 1", "p3 chromaticities", "cicp p3", "grey profile"}
    }
    return pngs | other_formats()
