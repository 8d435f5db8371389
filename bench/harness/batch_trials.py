"""A batch whose worker is killed again and again, and one of whose members somebody is in a hurry for."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg

from bench.harness.batch_worker import BatchOrder, read_book, services_of, wanted, work
from bench.harness.trials import forks, is_stopped
from copperplate.generation.lookup import LookupOptions
from copperplate.wishes import NewBatch, NewWish, Priority, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess
    from uuid import UUID

    from copperplate.services import Services
    from copperplate.wishes import Batch

LEASE_SECONDS = 1.0
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 300.0
OWNER = "key:00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What became of a batch. `most_at_once` counts jobs that the provider had at the same time.

    It leaves out the one that somebody asked for in a hurry: `urgent_submits` counts those, `passed` how many members
    it overtook, `urgent_seconds` how long they waited.
    """

    pictures: int
    failed: int
    submits: int
    most_submits: int
    most_at_once: int
    urgent_submits: int
    urgent_seconds: float
    passed: int
    kills: int
    seconds: float


def run(
    url: str,
    folder: Path,
    *,
    members: int,
    kills: int,
    at_once: int = 4,
    lease: float = LEASE_SECONDS,
    seconds: float = 0.5,
) -> BatchOutcome:
    """Keep a batch, have it made by a process that is killed so often, and ask for its last member meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    order = BatchOrder(url=url, folder=str(folder), at_once=at_once, lease=lease, seconds=seconds)
    return asyncio.run(_run(order, members=members, kills=kills))


async def _run(order: BatchOrder, *, members: int, kills: int) -> BatchOutcome:
    prompts = [f"member {number} {uuid4().hex[:8]}" for number in range(members)]
    began = time.monotonic()
    async with services_of(order) as services:
        kept = await _keep(services, prompts)
        worker = _begin(order)
        try:
            await _until_sent(order, members // 8)
            urgent_seconds = await _ask(services, prompts[-1])
            for number in range(1, kills + 1):
                await _until_sent(order, members // 8 + members * 7 // 8 * number // (kills + 1))
                await _kill(worker, order.url)
                worker = _begin(order)
            batch = await _ended(services, kept)
        finally:
            worker.kill()
            worker.join()
    book = read_book(Path(order.folder))
    submits = Counter(submit.prompt for submit in book)
    return BatchOutcome(
        pictures=batch.counts[State.COMPLETED],
        failed=batch.counts[State.FAILED],
        submits=len(book),
        most_submits=max(submits.values()),
        most_at_once=most_at_once([(each.began, each.due) for each in book if each.prompt != prompts[-1]]),
        urgent_submits=submits[prompts[-1]],
        urgent_seconds=urgent_seconds,
        passed=members - 1 - [submit.prompt for submit in book].index(prompts[-1]),
        kills=kills,
        seconds=time.monotonic() - began,
    )


async def _until_sent(order: BatchOrder, submits: int) -> None:
    await _until(lambda: len(read_book(Path(order.folder))) >= submits)


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many of these spans of time overlap at most; one that ends as another begins does not overlap it."""
    changes = sorted([(began, 1) for began, _ in spans] + [(due, -1) for _, due in spans])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


async def _keep(services: Services, prompts: list[str]) -> UUID:
    wishes = []
    for prompt in prompts:
        request = wanted(prompt)
        permit = services.gate.permit_of_owner(request)
        wishes.append(
            NewWish(
                generation_key=request.generation_key,
                recipe=request.recipe,
                owner=OWNER,
                spending=permit.spending,
                priority=Priority.LOW,
                paths=(f"/64x64.jpg?text={prompt}",),
            )
        )
    kept = await services.ledger.create_batch(NewBatch(owner=OWNER, wishes=tuple(wishes)))
    assert kept is not None
    return kept


async def _ask(services: Services, prompt: str) -> float:
    """How long a caller of its own waits for one member."""
    request, began = wanted(prompt), time.monotonic()
    await services.coordinator.find(request, LookupOptions(permit=services.gate.permit_of_owner(request)))
    return time.monotonic() - began


async def _kill(worker: ForkServerProcess, url: str) -> None:
    """SIGKILL, at a moment when each of its submits is noted: one that is not may be sent once more (`crashes`)."""
    while True:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        await _until(lambda: is_stopped(worker.pid))
        if not _has_unnoted_submits(url):
            break
        os.kill(worker.pid, signal.SIGCONT)
        await asyncio.sleep(POLL_SECONDS)
    worker.kill()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


def _has_unnoted_submits(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from public.generation_status where phase = 'submitting' and lease_until is not null"
        ).fetchone()
    return row is None or row[0] > 0


async def _ended(services: Services, kept: UUID) -> Batch:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            batch = await services.ledger.find_batch(kept)
            assert batch is not None
            if batch.is_final:
                return batch
            await asyncio.sleep(POLL_SECONDS * 5)


def _begin(order: BatchOrder) -> ForkServerProcess:
    process = forks.Process(target=work, args=(order,), daemon=True)
    process.start()
    return process


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(POLL_SECONDS)
