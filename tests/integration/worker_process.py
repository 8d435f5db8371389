"""Programs that `test_concurrency.py` runs as processes of their own: callers, counters, and leaders that stop."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from copperplate.adapters.fal import Fal
from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import CopperplateError, GenerationFailed
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.imaging.pillow_images import PillowImages
from copperplate.ledger_answers import Lead
from copperplate.model import Job, Outcome, ProviderResult
from copperplate.recipes.kinds import PROCESSED
from copperplate.testing import GENERATE
from tests.contract.ledger.harness import request_count
from tests.support.coordinator_harness import BUCKET, PlainImages
from tests.support.pictures import picture_request
from tests.support.processing_harness import Brought, processing_at
from tests.support.provider_harness import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime

    from copperplate.ledger_answers import AcquireResult
    from copperplate.model import CanonicalValue, InputPicture, PictureRequest, Size

LEASE = timedelta(seconds=20)
SCALED = Timings(
    lease=timedelta(seconds=1),
    heartbeat=timedelta(seconds=0.25),
    margin=timedelta(seconds=0.1),
    wait=timedelta(seconds=20),
    poll_max_seconds=0.3,
)


def say(word: str) -> None:
    print(word, flush=True)


def hear() -> str:
    return sys.stdin.readline().strip()


# --- callers -------------------------------------------------------------------------------------


async def acquire_many(url: str, prompts: list[str], times: int) -> dict[str, Any]:
    """Acquire each prompt `times` times when told to; answers how often which role was given.

    Fifty at a time: as many as any process has in flight, so that a slow machine delays calls and refuses none.
    """
    ledger = PostgresLedger(url, max_connections=16)
    await ledger.open()
    await ledger.kind_stats("image")
    say("ready")
    await asyncio.to_thread(hear)

    places = asyncio.Semaphore(50)

    async def once(prompt: str) -> AcquireResult | CopperplateError:
        try:
            async with places:
                return await ledger.acquire(picture_request(prompt), leader=uuid4(), lease_duration=LEASE)
        except CopperplateError as error:
            return error

    wishes = [prompt for prompt in prompts for _ in range(times)]
    random.shuffle(wishes)
    answers = await asyncio.gather(*map(once, wishes))
    await ledger.close()
    leads = Counter(wish for wish, answer in zip(wishes, answers, strict=True) if isinstance(answer, Lead))
    return {"roles": Counter(type(answer).__name__ for answer in answers), "leads": leads}


async def count_many(url: str, prompts: list[str], rounds: int) -> dict[str, Any]:
    """Record one hit for each prompt, in an order of our own, `rounds` times."""
    ledger = PostgresLedger(url)
    await ledger.open()
    await ledger.kind_stats("image")
    say("ready")
    await asyncio.to_thread(hear)
    errors: Counter[str] = Counter()

    async def once() -> None:
        shuffled = random.sample(prompts, len(prompts))
        try:
            await ledger.record_usage([request_count(picture_request(prompt), Outcome.HIT, 1) for prompt in shuffled])
        except CopperplateError as error:
            errors[repr(error.__cause__ or error)] += 1

    for _ in range(rounds // 4):
        await asyncio.gather(*(once() for _ in range(4)))
    await ledger.close()
    return {"errors": errors}


# --- a caller whose clock is moved by the test ---------------------------------------------------


class MovedClock(SystemClock):
    """The machine's clock, `seconds` later, and in `now` wrong by as much as this process is."""

    def __init__(self, wrong: timedelta) -> None:
        self._wrong = wrong
        self.seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds) + self._wrong

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


async def ask_over_time(url: str, folder: str, queue_url: str, prompt: str, wrong_hours: float) -> dict[str, Any]:
    """Ask for one picture each time the test names a time, until it says `end`; says how each was answered."""
    clock, images = MovedClock(timedelta(hours=wrong_hours)), PillowImages()
    provider = Fal(key="stand-in", clock=clock, queue_url=queue_url, poll_first_seconds=0.01)
    # One connection, so that all calls of this process have the ledger's clock where the test put it.
    ledger = PostgresLedger(url, max_connections=1)
    kinds = {"image": Kind(provider=provider, store=FolderStore(Path(folder), BUCKET))}
    coordinator = Coordinator(ledger=ledger, kinds=kinds, images=images, clock=clock)
    asked = request_of(provider, prompt)
    await ledger.open()
    await ledger.kind_stats("image")
    say("ready")
    while (word := await asyncio.to_thread(hear)) != "end":
        clock.seconds = float(word)
        async with ledger._transport._pool.connection() as connection:
            await connection.execute("select set_config('copperplate.clock_offset', %s, false)", (f"{word} s",))
        try:
            said: str = (await coordinator.find(asked, GENERATE)).outcome
        except GenerationFailed as error:
            said = error.failure_class
        except CopperplateError as error:
            said = error.code
        say(said)
    await provider.close()
    await ledger.close()
    images.close()
    return {}


# --- a leader that stops at a named point --------------------------------------------------------


class StoppingProvider:
    """Counts its submits in a file that every process shares, one byte each."""

    name = "scripted"
    models: tuple[str, ...] = ("copperplate/painter-1",)
    is_billable = True

    def __init__(self, tally: Path, *, has_jobs: bool) -> None:
        self._tally = tally
        self._has_jobs = has_jobs

    def settings(self, model: str) -> tuple[str, ...]:
        return ()

    def canvas(self, size: Size) -> Size:
        return size

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        return None

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        return 3_000

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        with self._tally.open("ab") as file:
            file.write(b".")
        number = self._tally.stat().st_size
        if self._has_jobs:
            return Job(request_id=f"job-{number}")
        return ProviderResult(body=f"picture {number}".encode())

    async def collect(self, job: Job) -> ProviderResult:
        return ProviderResult(body=f"picture of {job.request_id}".encode())

    async def close(self) -> None:
        pass


async def generate(url: str, folder: str, stop_at: str, *, has_jobs: bool) -> dict[str, Any]:
    """Find one picture with scaled leases, stopping at `before:<step>` or `after:<step>` until told to go on."""
    ledger = PostgresLedger(url)
    store = FolderStore(Path(folder) / "objects", BUCKET)
    provider = StoppingProvider(Path(folder) / "tally", has_jobs=has_jobs)
    owners = {"put": store, "submit": provider, "collect": provider}
    when, _, step = stop_at.partition(":")
    if step:
        _stop(owners.get(step, ledger), when, step)
    await ledger.open()
    coordinator = Coordinator(
        ledger=ledger,
        kinds={"image": Kind(provider=provider, store=store)},
        images=PlainImages(),
        clock=SystemClock(),
        timings=SCALED,
    )
    found = await coordinator.find(_wish(), GENERATE)
    body = found.body if found.body is not None else await store.get(found.entry.path)
    await ledger.close()
    return {"body": body.decode(), "outcome": found.outcome, "path": found.entry.path}


async def process(url: str, folder: str, fal_url: str, stop_at: str, model: str) -> dict[str, Any]:
    """Have one picture processed by fal's stand-in, with scaled leases, stopping as `generate` does."""
    ledger, images = PostgresLedger(url), PillowImages()
    provider = processing_at(fal_url)
    when, _, step = stop_at.partition(":")
    if step:
        _stop(provider if hasattr(provider, step) else ledger, when, step)
    await ledger.open()
    coordinator = Coordinator(
        ledger=ledger,
        kinds={"processed": Kind(provider=provider, store=FolderStore(Path(folder), PROCESSED.bucket))},
        images=images,
        clock=SystemClock(),
        timings=SCALED,
    )
    found = await coordinator.find(Brought().request(provider, model), GENERATE)
    await provider.close()
    await ledger.close()
    images.close()
    return {"outcome": found.outcome, "size": [found.entry.width, found.entry.height]}


def _wish() -> PictureRequest:
    return picture_request("of many processes")


def _stop(owner: Any, when: str, step: str) -> None:
    original, calls = getattr(owner, step), itertools.count(1)

    async def stopping(*arguments: Any, **named: Any) -> Any:
        is_first = next(calls) == 1
        if is_first and when == "before":
            await _pause(step)
        answer = await original(*arguments, **named)
        if is_first and when == "after":
            await _pause(step)
        return answer

    setattr(owner, step, stopping)


async def _pause(step: str) -> None:
    say(f"at {step}")
    await asyncio.to_thread(hear)


Program: TypeAlias = "Callable[..., Coroutine[Any, Any, dict[str, Any]]]"
PROGRAMS: dict[str, Program] = {
    "acquire": acquire_many,
    "count": count_many,
    "generate": generate,
    "process": process,
    "ask_over_time": ask_over_time,
}

if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    result = asyncio.run(PROGRAMS[order.pop("program")](**order))
    say(json.dumps(result))
    # A thread may still wait for a word from the test.
    os._exit(0)
