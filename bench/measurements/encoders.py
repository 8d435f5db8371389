"""What each format takes of bytes and processor time, and how like the original it looks."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from bench.harness import pictures
from bench.harness.figures import Figure, Run, median_figure, ratios
from copperplate.imaging import encoders
from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.provenance import xmp_packet
from copperplate.model import PictureFormat, Rendition, Size

if TYPE_CHECKING:
    from collections.abc import Callable

QUALITIES = (40, 60, 75, 85, 95)
# At equal SSIM a jpeg is at most that much larger.
MOST_BYTES = 1.0
WIDTHS = (256, 384, 640, 750, 828, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture in one form."""

    size_bytes: int
    ms: float
    ssim: float


def measure(run: Run) -> list[Figure]:
    """Bytes, processor time and SSIM of each format against a jpeg of the same rung; a srcset from one open picture."""
    sources = [*asyncio.run(pictures.painted()), *pictures.photo_like(), *pictures.others()]
    sources = sources[: run.pick(len(sources), 3)]
    how = (
        f"{len(sources)} pictures of at most 1024 x 1024 (eight of the painter, two of noise in octaves, the rest from "
        "the folder in BENCH_PICTURES), each with the encoder of the server, one thread; SSIM of luma over blocks of "
        "8 x 8; processor time of the thread."
    )
    figures = []
    for quality in QUALITIES:
        run.say(f"quality {quality}")
        jpg = [_sample(each, PictureFormat.JPG, quality) for each in sources]
        for form in (PictureFormat.WEBP, PictureFormat.AVIF):
            made = [_sample(each, form, quality) for each in sources]
            figures += _against(f"{form} {quality}", made, f"jpg {quality}", jpg, how)
    figures += _plain_jpeg_and_png(sources, how)
    return [*figures, asyncio.run(_measure_srcset(sources[0]))]


def _against(name: str, made: list[Sample], baseline: str, jpg: list[Sample], how: str) -> list[Figure]:
    sizes = ratios([each.size_bytes for each in made], [each.size_bytes for each in jpg])
    likeness = [each.ssim - other.ssim for each, other in zip(made, jpg, strict=True)]
    return [
        median_figure(sizes, what=f"{name}: bytes of {baseline}", unit="x", how=how, at_most=MOST_BYTES),
        median_figure(likeness, what=f"{name}: SSIM above {baseline}", unit="", how=how),
        median_figure([each.ms for each in made], what=f"{name}: processor time", unit="ms", how=how),
    ]


def _plain_jpeg_and_png(sources: list[Image.Image], how: str) -> list[Figure]:
    jpg = [_sample(each, PictureFormat.JPG, 85) for each in sources]
    plain = [_timed(each, lambda picture: _saved(picture, format="JPEG", quality=85)) for each in sources]
    png = [_sample(each, PictureFormat.PNG, None) for each in sources]
    fastest = [_timed(each, lambda picture: _saved(picture, format="PNG", compress_level=1)) for each in sources]
    return [
        *_against("jpg 85", jpg, "jpg 85 not optimised", plain, how),
        median_figure(
            ratios([each.size_bytes for each in png], [each.size_bytes for each in fastest]),
            what="png: bytes of level 1", unit="x", how=how, at_most=MOST_BYTES,
        ),
        median_figure([each.ms for each in png], what="png: processor time", unit="ms", how=how),
    ]  # fmt: skip


def _sample(picture: Image.Image, form: PictureFormat, quality: int | None) -> Sample:
    rendition = Rendition(format=form, quality=quality)
    return _timed(picture, lambda given: encoders.encode(given, rendition, xmp=xmp_packet("model")))


def _timed(picture: Image.Image, encode: Callable[[Image.Image], bytes]) -> Sample:
    began = time.thread_time()
    body = encode(picture)
    ms = (time.thread_time() - began) * 1_000
    with Image.open(BytesIO(body)) as image:
        likeness = pictures.ssim(picture, image.convert("RGB"))
    return Sample(size_bytes=len(body), ms=ms, ssim=likeness)


def _saved(picture: Image.Image, **options: Any) -> bytes:
    target = BytesIO()
    picture.save(target, **options)
    return target.getvalue()


async def _measure_srcset(source: Image.Image) -> Figure:
    """Processor time of a srcset from one open picture, against one opened for each form, in turns."""
    original, canvas = _saved(source, format="PNG"), Size(width=source.width, height=source.height)
    wanted = [
        Rendition(format=form, quality=85, size=Size(width=width, height=width))
        for width in WIDTHS
        for form in PictureFormat
        if form is not PictureFormat.PNG
    ]
    images = PillowImages(threads=1)

    async def together() -> None:
        async with images.open(original, model="m") as picture:
            await asyncio.gather(*(picture.encode(each, canvas=canvas) for each in wanted))

    async def apart() -> None:
        for each in wanted:
            async with images.open(original, model="m") as picture:
                await picture.encode(each, canvas=canvas)

    rounds: list[float] = []
    for _ in range(5):
        times = []
        for work in (together, apart):
            began = time.process_time()
            await work()
            times.append(time.process_time() - began)
        rounds.append(times[0] / times[1])
    images.close()
    return Figure(
        what="a srcset from one open picture: processor time of opening it for each form",
        value=statistics.median(rounds),
        rounds=rounds,
        unit="x",
        how=f"{len(wanted)} forms ({len(WIDTHS)} widths, three formats) of one painted png, one thread.",
        at_most=1.0,
    )
