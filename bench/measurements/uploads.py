"""What the gate for uploads takes of memory and time, that it refuses no whole picture and takes no hostile one.

`BENCH_PICTURES` names a folder with further pictures, a folder for each source in it; see docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bench.harness import sample_pictures
from bench.harness.figures import Figure, median_figure
from copperplate.errors import CopperplateError, InvalidRequest
from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.uploads import UPLOAD_MEMORY_BYTES
from tests.support.children import answer_of
from tests.support.hostile_uploads import SEED, hostile_uploads
from tests.support.largest_uploads import LARGEST, SIDE

if TYPE_CHECKING:
    from bench.harness.figures import Run

QUICK: Final = ("cmyk.jpg", "alpha.webp", "alpha.avif")
HOW: Final = (
    "Each in a process of its own, one thread: the largest of its format and mode that is taken, on its side and with a"
    " profile where the format has such. Time: of the processor. Memory: peak of resident memory above what it was"
    " before, the file included."
)


def measure(run: Run) -> list[Figure]:
    """Memory and time of the worst uploads; outcomes of hostile ones by class; whole pictures refused."""
    return [*_largest(run), *asyncio.run(_hostile()), *asyncio.run(_whole(run))]


def _largest(run: Run) -> list[Figure]:
    figures = []
    for name in QUICK if run.is_quick else LARGEST:
        path = run.folder / name
        path.write_bytes(LARGEST[name](SIDE))
        rounds = [answer_of("tests.support.largest_uploads", "clean_alone", str(path)) for _ in range(run.pick(3, 1))]
        outcome, size = rounds[0][0], path.stat().st_size
        run.say(f"{name}, {size} bytes: {outcome}")
        memory = max(extra_bytes for _, extra_bytes, _ in rounds) / 1e6
        figures += [
            Figure(what=f"{name}, memory", value=memory, unit="MB", how=HOW, at_most=UPLOAD_MEMORY_BYTES / 1e6),
            median_figure([1000 * seconds for *_, seconds in rounds], what=f"{name}, time", unit="ms", how=HOW),
        ]
        path.unlink()
    return figures


async def _hostile() -> list[Figure]:
    images, how = PillowImages(threads=1), f"Made from the seed {SEED}; see tests/support/hostile_uploads.py."
    count, wrong = 0, 0
    for uploads in hostile_uploads().values():
        for upload in uploads:
            count += 1
            try:
                await images.clean(upload.body)
                wrong += upload.outcome is not None
            except CopperplateError as error:
                wrong += type(error) is not upload.outcome
    images.close()
    return [
        Figure(what="hostile uploads", value=count, unit="uploads", how=how, at_least=320),
        Figure(
            what="hostile uploads that end otherwise than they should", value=wrong, unit="uploads", how=how, exactly=0
        ),
    ]


async def _whole(run: Run) -> list[Figure]:
    images, sources, count, refused = PillowImages(), set(), 0, 0
    for source, name, body in sample_pictures.real_looking():
        sources.add(source)
        count += 1
        try:
            await images.clean(body)
        except InvalidRequest as error:
            refused += 1
            run.say(f"refused: {source}: {name}: {error}")
    images.close()
    how = f"{len(sources)} sources: {', '.join(sorted(sources))}; files as they are and, in two sizes, four forms each."
    return [
        Figure(what="whole pictures", value=count, unit="pictures", how=how),
        Figure(what="refused wrongly", value=refused, unit="pictures", how=how, exactly=0),
    ]
