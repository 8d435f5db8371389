"""Paid jobs of fal whose pictures are not had at once: how many submits do fifty cost, and when are they served?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bench.harness.databases import cluster
from bench.harness.figures import Figure, Run
from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import PictureRequest
    from tests.standin.server import Standin

JOBS = 50
AT_ONCE = 10
RETENTION = timedelta(seconds=20)
# One glitch for each job, and then no more.
GLITCHES: dict[str, str] = {
    "the picture's address answers 404": "file_404_first",
    "the result answers 404": "result_404_first",
    "the result answers 504 with a detail": "result_504_first",
    "the status answers 404": "status_404_first",
    "the picture is cut off": "file_cut_first",
    "a receipt without cancel_url": "receipt_without_cancel",
}


@dataclass
class Served:
    """What fifty jobs came to."""

    submits: int
    within_the_wait: int
    by_the_next_ask: int


def measure(run: Run) -> list[Figure]:
    """Submits of fifty paid jobs with one glitch each, by kind of glitch, and of a result that is gone for good."""
    from tests.standin.server import serve

    figures: list[Figure] = []
    # A line for each job that is put off would be many.
    logging.getLogger("copperplate").setLevel(logging.CRITICAL)
    with cluster(run, is_durable=False) as started, serve() as standin:
        jobs = run.pick(JOBS, 5)
        for what, scenario in GLITCHES.items():
            standin.scenario_log.clear()
            seen = asyncio.run(_glitch(started.owner_url, standin, scenario, jobs))
            run.say(f"{what}: {seen}")
            figures += _figures(what, seen, jobs)
        standin.scenario_log.clear()
        submits, seconds, requests = asyncio.run(_gone(started.owner_url, standin))
        run.say(f"gone: {submits} submits, the second after {seconds:.1f} s, {requests} requests before it")
    how = (
        f"A result that answers 404 for ever, retention scaled to {RETENTION.total_seconds():.0f} s, one caller who "
        "asks again without a pause, defaults else."
    )
    return [
        *figures,
        Figure(what="gone for good: submits", value=submits, unit="", how=how, exactly=2),
        Figure(
            what="gone for good: second submit after",
            value=round(seconds, 1),
            unit="s",
            how=how,
            at_least=RETENTION.total_seconds(),
        ),
        Figure(what="gone for good: requests to fal before it", value=requests, unit="", how=how),
    ]


def _figures(what: str, seen: Served, jobs: int) -> list[Figure]:
    how = (
        f"{jobs} jobs, {AT_ONCE} at once, fal's adapter with its defaults over sockets against the stand-in, Postgres; "
        f"{seen.within_the_wait} served by the first ask, {seen.by_the_next_ask} by a later one after Retry-After."
    )
    return [
        Figure(what=f"{what}: submits of {jobs} jobs", value=seen.submits, unit="", how=how, exactly=jobs),
        Figure(
            what=f"{what}: jobs served",
            value=seen.within_the_wait + seen.by_the_next_ask,
            unit="",
            how=how,
            exactly=jobs,
        ),
    ]


@contextlib.asynccontextmanager
async def _open(url: str, standin: Standin, retention: timedelta = timedelta(days=1)):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from copperplate.adapters.fal import Fal
    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.adapters.memory.store import MemoryStore
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.generation.timings import Timings
    from copperplate.imaging.pillow_images import PillowImages

    ledger, images, clock = PostgresLedger(url, max_connections=8), PillowImages(), SystemClock()
    fal = Fal(key="key-of-the-stand-in", clock=clock, queue_url=standin.url, retention=retention)
    await ledger.open()
    kinds = {"image": Kind(provider=fal, store=MemoryStore("generated-images"))}
    timings = Timings(job_retention=retention)
    try:
        yield fal, Coordinator(ledger=ledger, kinds=kinds, images=images, clock=clock, timings=timings)
    finally:
        await fal.close()
        await ledger.close()
        images.close()


async def _glitch(url: str, standin: Standin, scenario: str, jobs: int) -> Served:
    from tests.support.provider_harness import request_of

    async with _open(url, standin) as (fal, coordinator):
        picture_requests = [request_of(fal, f"a fox {number} [{scenario}]") for number in range(jobs)]
        asks = await _ask_all(coordinator, picture_requests)
    return Served(standin.scenario_log.posts.total(), asks.count(1), len([each for each in asks if each > 1]))


async def _ask_all(coordinator: Coordinator, picture_requests: Sequence[PictureRequest]) -> list[int]:
    """How often each had to be asked for until it was served; a caller comes back after Retry-After."""
    from copperplate.errors import CopperplateError

    turn = asyncio.Semaphore(AT_ONCE)

    async def ask(picture_request: PictureRequest) -> int:
        for number in range(1, 20):
            try:
                async with turn:
                    await coordinator.find(picture_request, GENERATE)
            except CopperplateError as error:
                await asyncio.sleep(error.retry_after_seconds or 1)
            else:
                return number
        return 0

    return list(await asyncio.gather(*(ask(picture_request) for picture_request in picture_requests)))


async def _gone(url: str, standin: Standin) -> tuple[int, float, int]:
    """Submits, seconds from the first to the second, and requests in between, of a result that is never there."""
    from copperplate.errors import CopperplateError
    from tests.support.provider_harness import request_of

    async with _open(url, standin, RETENTION) as (fal, coordinator):
        picture_request = request_of(fal, "a fox that is gone")
        standin.scenario_log.tell("a fox that is gone", "result_404", "ok")
        end_at = time.monotonic() + 4 * RETENTION.total_seconds()
        while time.monotonic() < end_at:
            with contextlib.suppress(CopperplateError):
                await coordinator.find(picture_request, GENERATE)
                break
            await asyncio.sleep(0.05)
    posts = [number for number, each in enumerate(standin.scenario_log.requests) if each["method"] == "POST"]
    first, second = (standin.scenario_log.requests[number]["at"] for number in posts[:2])
    return standin.scenario_log.posts.total(), second - first, posts[1] - posts[0] - 1
