"""A whole srcset of one new text: what it costs at the provider, and what it saves on the wire."""

from __future__ import annotations

import asyncio
import statistics
from io import BytesIO
from typing import TYPE_CHECKING, Final

from PIL import Image

from bench.harness import browsers, pictures
from bench.harness.databases import query, url_of
from bench.harness.figures import Figure
from bench.harness.processes import dev
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import PictureFormat, Rendition, Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.harness.figures import Run

# The last is the canvas itself.
WIDTHS: Final = (128, 256, 384, 640, 750, 828, 1080)
CANVAS: Final = 1024
BROWSERS, CONNECTIONS, WORKERS = 50, 6, 4
TEXT: Final = "a+lighthouse+nobody+asked+for"
JPEG_OF_A_PROVIDER: Final = 95


def measure(run: Run) -> list[Figure]:
    """Provider calls for 7 widths in 4 formats, by 50 browsers at once; bytes and SSIM by format and width."""
    return [*_asked_at_once(run), *asyncio.run(_saved(run))]


def _asked_at_once(run: Run) -> list[Figure]:
    paths = [f"/{CANVAS}x{CANVAS}.{form}?text={TEXT}&w={width}" for form in PictureFormat for width in WIDTHS]
    with dev(run.folder / "dev", workers=WORKERS, COPPERPLATE_PAINTER_SECONDS="1") as server:
        said = browsers.seen_by(browsers.start(server.address, [paths] * BROWSERS, connections=CONNECTIONS))
        url = url_of(run.folder / "dev")
        calls = query(url, "select sum(api_calls_made)::float8 from public.generation_status")[0][0]
        kept = query(url, "select count(*)::float8 from copperplate.cache_entries where not is_original")[0][0]
    failed = sum(count for status, count in said["statuses"].items() if status != "200")
    how = (
        f"{len(WIDTHS)} widths in {len(PictureFormat)} formats of one new text, {BROWSERS} browsers at once with "
        f"{CONNECTIONS} connections each, {WORKERS} server processes and Postgres on the same cores; a provider of 1 s."
    )
    return [
        Figure(what="provider calls", value=calls, unit="", how=how, exactly=1),
        Figure(
            what="answers that were no picture", value=failed, unit=f"of {len(paths) * BROWSERS}", how=how, exactly=0
        ),
        Figure(what="forms with different bytes", value=said["differing"], unit="", how=how, exactly=0),
        Figure(what="kept renditions", value=kept, unit="", how=how, at_most=64),
        Figure(what="until the last browser has all", value=said["seconds"], unit="s", how=how),
    ]


async def _saved(run: Run) -> list[Figure]:
    sources = {"painter": await pictures.painted(), "other": [*pictures.photo_like(), *pictures.others()]}
    count = sum(map(len, sources.values()))
    how = (
        f"{count} pictures of at most {CANVAS} x {CANVAS} (eight of the painter, two of noise in octaves, the rest "
        "from the folder in BENCH_PICTURES), q=85. Bytes against the original: the painter's png, and a jpeg of "
        f"quality {JPEG_OF_A_PROVIDER} of the others. SSIM of luma against the original scaled to that width."
    )
    forms = [(form, width) for form in PictureFormat for width in WIDTHS]
    sizes: dict[tuple[PictureFormat, int], list[float]] = {each: [] for each in forms}
    likeness: dict[tuple[PictureFormat, int], list[float]] = {each: [] for each in forms}
    images = PillowImages()
    for name, made in sources.items():
        for picture in made[: run.pick(len(made), 2)]:
            original = BytesIO()
            options = {"format": "PNG"} if name == "painter" else {"format": "JPEG", "quality": JPEG_OF_A_PROVIDER}
            picture.save(original, **options)
            await _encode_all(images, original.getvalue(), picture.size, forms, sizes, likeness)
        run.say(f"{name}: {len(made)} pictures")
    images.close()
    whole = [statistics.mean(sizes[each][number] for each in forms) for number in range(len(sizes[forms[0]]))]
    return [
        Figure(what="bytes of a srcset to the original for each", value=statistics.median(whole), unit="x", how=how,
               rounds=whole, at_most=1.0),
        *(_median(f"{form} {width}: bytes to the original", sizes[form, width], "x", how) for form, width in forms),
        *(
            _median(f"{form} {width}: SSIM", likeness[form, width], "", how)
            for form, width in forms
            if form is not PictureFormat.PNG
        ),
    ]  # fmt: skip


def _median(what: str, values: list[float], unit: str, how: str) -> Figure:
    return Figure(what=what, value=statistics.median(values), unit=unit, how=how, rounds=values)


async def _encode_all(
    images: PillowImages,
    original: bytes,
    size: tuple[int, int],
    forms: list[tuple[PictureFormat, int]],
    sizes: Mapping[tuple[PictureFormat, int], list[float]],
    likeness: Mapping[tuple[PictureFormat, int], list[float]],
) -> None:
    """Each form once, from one open picture."""
    canvas = Size(width=size[0], height=size[1])
    png = {width: _png_of(canvas, width) for width in WIDTHS}
    async with images.open(original, model="m") as picture:
        references = {width: await picture.encode(png[width], canvas=canvas) for width in WIDTHS}
        for form, width in forms:
            quality = None if form is PictureFormat.PNG else 85
            rendition = Rendition(format=form, quality=quality, size=png[width].size)
            body = await picture.encode(rendition, canvas=canvas)
            sizes[form, width].append(len(body) / len(original))
            likeness[form, width].append(_ssim(references[width], body))


def _png_of(canvas: Size, width: int) -> Rendition:
    size = None
    if width < canvas.width:
        size = Size(width=width, height=max(1, round(width * canvas.height / canvas.width)))
    return Rendition(format=PictureFormat.PNG, quality=None, size=size)


def _ssim(reference: bytes, body: bytes) -> float:
    with Image.open(BytesIO(reference)) as one, Image.open(BytesIO(body)) as other:
        return pictures.ssim(one.convert("RGB"), other.convert("RGB"))
