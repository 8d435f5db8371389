"""Whether whole pictures are kept and damaged ones are not, and what the proof costs beside Pillow's decoding alone.

`BENCH_PICTURES` names a folder with further pictures, a folder for each source in it; see docs/benchmarks.md.
"""

from __future__ import annotations

import time
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from bench.harness import sample_pictures
from bench.harness.figures import Figure, median_figure, ratios
from copperplate.errors import ProviderFailed
from copperplate.imaging.header import read_header
from copperplate.imaging.verification import verify
from copperplate.model import Size
from tests.support.odd_pictures import damaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.harness.figures import Run

ANY_SIZE: Final = Size(width=1, height=1)
# Of each source, so many pictures are damaged, in every form and way.
DAMAGED_OF_EACH: Final = 2
HOW: Final = (
    "One thread, in turns, processor time, 1024 x 1024: `verify` beside what it was before ADR 0050, Pillow's decoding,"
    " a png's checksums and the range of each channel."
)


def measure(run: Run) -> list[Figure]:
    """Pictures refused wrongly, damaged ones kept, and the time of `verify` to the time it took before."""
    return [*_judged(run), *_timed(run)]


def _judged(run: Run) -> list[Figure]:
    sources, count, refused, spoilt, kept = set(), 0, [], 0, []
    taken: dict[tuple[str, str], int] = {}
    for source, name, body in sample_pictures.real_looking():
        sources.add(source)
        count += 1
        if why := _refusal(body):
            refused.append(f"{source}: {name}: {why}")
        form = read_header(body).name
        form_taken = taken.get((source, form), 0)
        if form_taken < DAMAGED_OF_EACH and 20_000 < len(body) < 400_000:
            taken[source, form] = form_taken + 1
            for way, damage in damaged(body, form).items():
                spoilt += 1
                if not _refusal(damage):
                    kept.append(f"{source}: {name}: {way}")
    for line in (*refused, *(f"kept: {line}" for line in kept)):
        run.say(line)
    how = f"{len(sources)} sources: {', '.join(sorted(sources))}; files as they are and, in two sizes, four forms each."
    ways = "Cut, filled up with zeros, text or noise, a tenth missing, zeroed or repeated, at three places."
    return [
        Figure(what="whole pictures", value=count, unit="pictures", how=how),
        Figure(what="refused wrongly", value=len(refused), unit="pictures", how=how, exactly=0),
        Figure(what="damaged pictures", value=spoilt, unit="pictures", how=ways, at_least=60),
        Figure(what="kept though damaged", value=len(kept), unit="pictures", how=ways, exactly=0),
    ]


def _refusal(body: bytes) -> str:
    try:
        verify(body, read_header(body), ANY_SIZE)
    except ProviderFailed as failed:
        return str(failed) or "refused"
    return ""


def _timed(run: Run) -> list[Figure]:
    image = Image.open(BytesIO(sample_pictures.painted("mountains", 1024))).convert("RGB")
    grainy = Image.blend(image, sample_pictures.noise(1, 1024), 0.1)
    forms: dict[str, dict[str, Any]] = {
        "jpg": {"format": "JPEG", "quality": 85},
        "progressive jpg": {"format": "JPEG", "quality": 85, "progressive": True},
        "png": {"format": "PNG"},
        "webp": {"format": "WEBP", "quality": 85},
    }
    bodies = {form: sample_pictures.encoded(grainy, **options) for form, options in forms.items()}
    rounds, figures = run.pick(41, 5), []
    for form, body in bodies.items():
        header = read_header(body)
        now: list[float] = []
        before: list[float] = []
        for _ in range(rounds):
            before.append(_milliseconds(lambda body=body, name=header.name: _as_before(body, name)))  # type: ignore[misc]
            now.append(_milliseconds(lambda body=body, header=header: verify(body, header, ANY_SIZE)))  # type: ignore[misc]
        bound = 1.5 if form in {"jpg", "png"} else None
        figures += [
            median_figure(before, what=f"{form}, before", unit="ms", how=HOW),
            median_figure(now, what=f"{form}", unit="ms", how=HOW),
            median_figure(ratios(now, before), what=f"{form} to before", unit="ratio", how=HOW, at_most=bound),
        ]
    return figures


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def _as_before(body: bytes, name: str) -> bool:
    """What verification was before ADR 0050."""
    if name == "PNG":
        Image.open(BytesIO(body), formats=[name]).verify()
    with Image.open(BytesIO(body), formats=[name]) as image:
        image.load()
        image.getexif()
        mode = "RGBA" if image.has_transparency_data else "RGB"
        seen = image if image.mode == mode else image.convert(mode)
        extrema = [seen.getchannel(band).getextrema() for band in seen.getbands()]
        return all(low == high for low, high in extrema[:3])
