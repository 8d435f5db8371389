"""The uploads that take most memory and time of all that are taken, and what one takes in a process of its own."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageCms

from copperplate.errors import CopperplateError
from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.uploads import read_upload
from tests.support.children import forget_peak, peak_bytes, used_bytes
from tests.support.odd_pictures import encoded
from tests.support.upload_parts import FORMATS, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIDE = 4096


@cache
def grainy(side: int) -> Image.Image:
    """Grain over a soft picture."""
    grain = Image.effect_noise((side // 4, side // 4), 25).resize((side, side))
    turned = grain.transpose(Image.Transpose.ROTATE_90)
    return Image.merge("RGB", (grain, turned, grain.transpose(Image.Transpose.ROTATE_180)))


def _lower(side: int) -> Image.Image:
    """Three quarters as high: so large is what a heavy decoder still takes with a file of some megabytes."""
    return grainy(side).crop((0, 0, side, side * 3 // 4))


def _with_alpha(picture: Image.Image) -> Image.Image:
    glass = picture.copy()
    glass.putalpha(picture.getchannel("G"))
    return glass


def _of_16_bits(side: int) -> Image.Image:
    return grainy(side).convert("I").point(lambda value: value * 257).convert("I;16")


def _flat(side: int) -> Image.Image:
    return Image.new("RGBA", (side, side), (90, 120, 40, 200))


def _softer(side: int) -> Image.Image:
    return grainy(side).point(lambda value: value & 0xF8)


def _options(**options: Any) -> dict[str, Any]:
    """A profile, and a picture that lies on its side: both cost a copy."""
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"exif": exif, "icc_profile": profile, **options}


# The largest of each format and mode, by the length of the longer side; none is above 32 MB at 4096 px.
LARGEST: dict[str, Callable[[int], bytes]] = {
    "cmyk.jpg": lambda side: encoded(grainy(side).convert("CMYK"), "JPEG", **_options(quality=85, progressive=True)),
    "progressive.jpg": lambda side: encoded(
        grainy(side), "JPEG", **_options(quality=90, subsampling=0, progressive=True)
    ),
    "baseline.jpg": lambda side: encoded(grainy(side), "JPEG", **_options(quality=95, subsampling=0)),
    "alpha.png": lambda side: encoded(_with_alpha(_softer(side)), "PNG", **_options(compress_level=1)),
    "grey alpha.png": lambda side: encoded(
        _with_alpha(grainy(side)).convert("LA"), "PNG", **_options(compress_level=1)
    ),
    "16 bits.png": lambda side: encoded(_of_16_bits(side), "PNG", **_options(compress_level=1)),
    "one bit.png": lambda side: encoded(grainy(side).convert("1"), "PNG"),
    "palette.png": lambda side: encoded(grainy(side).convert("P"), "PNG", transparency=3, **_options()),
    "palette.gif": lambda side: encoded(grainy(side).convert("P"), "GIF"),
    "lossy.webp": lambda side: encoded(_lower(side), "WEBP", **_options(quality=85, method=0)),
    "alpha.webp": lambda side: encoded(_with_alpha(_lower(side)), "WEBP", **_options(quality=60, method=0)),
    "flat.webp": lambda side: encoded(_flat(side), "WEBP", **_options(lossless=True, quality=0, method=0)),
    "opaque.avif": lambda side: encoded(_lower(side), "AVIF", quality=40, speed=10),
    "alpha.avif": lambda side: encoded(
        _with_alpha(_lower(side)), "AVIF", **_options(quality=40, subsampling="4:4:4", speed=10)
    ),
}


async def clean_alone(path: str) -> tuple[str, int, float]:
    """What becomes of an upload, the memory it took above an idle process, and processor time in seconds."""
    images = PillowImages(threads=1, seconds=120)
    for form in FORMATS:
        await images.clean(whole(form))
    idle_bytes = used_bytes()
    forget_peak()
    began = time.process_time()
    try:
        outcome = str((await images.clean(Path(path).read_bytes())).format)
    except CopperplateError as error:
        outcome = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - began
    images.close()
    return outcome, peak_bytes() - idle_bytes, seconds


async def most_of_all(side: int, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of some of the largest, made smaller: the memory that it took above an idle process, and what was foreseen."""
    images, found = PillowImages(threads=1, seconds=120), {}
    bodies = {name: LARGEST[name](side) for name in names}
    grainy.cache_clear()
    for form in FORMATS:
        await images.clean(whole(form))
    for name, body in bodies.items():
        idle_bytes = used_bytes()
        forget_peak()
        await images.clean(body)
        # What is foreseen has the file itself among it, which was here before.
        found[name] = peak_bytes() - idle_bytes + len(body), read_upload(body).memory_bytes
    images.close()
    return found
