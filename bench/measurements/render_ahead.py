"""What the WebP beside the original costs the first caller."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from bench.harness.databases import cluster, request_of
from bench.harness.figures import Figure, median_figure, ratios
from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.painter import Painter
from copperplate.adapters.system_clock import SystemClock
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import Outcome, PictureFormat, ProviderResult
from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.harness.figures import Run
    from copperplate.model import CanonicalValue, InputPicture

PATH, BUCKET = "/1024x1024.jpg", "generated-images"
PICTURES = 8
WITHOUT, BESIDE = "without", "with the WebP beside"
AHEAD: dict[str, tuple[PictureFormat, ...]] = {WITHOUT: (), BESIDE: (PictureFormat.WEBP,)}
MOST_RATIO = 1.05
HOW = (
    "Coordinator, Postgres and a folder; one new 1024 × 1024 jpg after the other, from the question to its bytes, with "
    "and without COPPERPLATE_RENDER_AHEAD in turns; the ratio is of each pair."
)


class Prepared(Painter):
    """Answers pictures that were painted before, after a stated time."""

    def __init__(self, bodies: Sequence[bytes], *, seconds: float) -> None:
        super().__init__(SystemClock())
        self._bodies = bodies
        self._waits_seconds = seconds
        self._answers = 0

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> ProviderResult:
        """The next picture."""
        await asyncio.sleep(self._waits_seconds)
        # Each twice, so that both of a pair get the same one.
        body = self._bodies[self._answers // 2 % len(self._bodies)]
        self._answers += 1
        return ProviderResult(body=body)


def measure(run: Run) -> list[Figure]:
    """How much longer the first caller waits because a WebP is stored beside the original."""
    slow = asyncio.run(_take_turns(run, seconds=1.0, pairs=run.pick(60, 3)))
    fast = asyncio.run(_take_turns(run, seconds=0.0, pairs=run.pick(100, 5)))
    return [
        *_figures("provider of 1 s", slow, at_most=MOST_RATIO),
        *_figures("provider that takes no time", fast),
    ]


def _figures(what: str, seen: dict[str, list[float]], *, at_most: float | None = None) -> list[Figure]:
    each = [median_figure(seen[name], what=f"{what}, {name}", unit="ms", how=HOW) for name in AHEAD]
    ratio = ratios(seen[BESIDE], seen[WITHOUT])
    return [
        median_figure(
            ratio, what=f"{what}, {BESIDE} to {WITHOUT}, first caller", unit="ratio", how=HOW, at_most=at_most
        ),
        *each,
    ]


async def _take_turns(run: Run, *, seconds: float, pairs: int) -> dict[str, list[float]]:
    """Milliseconds of each miss."""
    clock, images = SystemClock(), PillowImages()
    painter = Painter(clock)
    bodies = [(await painter.submit(request_of(PATH, f"a red fox {number}").recipe)).body for number in range(PICTURES)]
    seen: dict[str, list[float]] = {name: [] for name in AHEAD}
    with cluster(run) as started:
        ledger = PostgresLedger(started.owner_url)
        await ledger.open()
        store = FolderStore(run.folder / f"objects-{uuid4().hex[:8]}", BUCKET)
        kinds = {"image": Kind(provider=Prepared(bodies, seconds=seconds), store=store)}
        processes = {
            name: Coordinator(ledger=ledger, kinds=kinds, images=images, clock=clock, ahead=ahead)
            for name, ahead in AHEAD.items()
        }
        for number in range(-1, pairs):
            for name in AHEAD if number % 2 else reversed(AHEAD):
                took = await _miss(processes[name])
                if number >= 0:  # the first pair loads what is loaded once
                    seen[name].append(took)
        run.say(f"{pairs} pairs at {seconds} s")
        for process in processes.values():
            await process.shut_down(within_seconds=10)
        await ledger.close()
    images.close()
    return seen


async def _miss(process: Coordinator) -> float:
    request = request_of(PATH, uuid4().hex)
    began = time.perf_counter()
    found = await process.find(request, GENERATE)
    took = time.perf_counter() - began
    if found.outcome is not Outcome.GENERATED or found.body is None:
        raise RuntimeError("that was no miss")
    return took * 1_000
