"""Trials of recovery: real processes over a real Postgres, killed or stopped at named points."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from bench.harness.request_worker import BUCKET, GENERATION_SECONDS, Order, ask
from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.context import ForkServerProcess

LEASE_SECONDS = 1.0
# Of leaders that die one after the other: each of them is waited out.
CHAIN_LEASE_SECONDS = 0.4
# Promised: the lease, a generation, and two seconds for polls and starts.
BOUND_SECONDS = LEASE_SECONDS + GENERATION_SECONDS + 2.0
CALLERS = 5
PATIENCE_SECONDS = 60.0

# Where a leader is killed, and how often the provider is asked in all: with jobs, and without.
KILLS: dict[str, tuple[int, int]] = {
    "acquired": (1, 1),
    "announced": (1, 1),
    "answered": (2, 2),
    "noted": (1, 0),  # without jobs there is nothing to note
    "beating": (1, 2),
    "decoding": (1, 2),
    "made": (1, 2),
    "intended": (1, 2),
    # Without jobs it depends on whether the original is stored by then.
    "encoded": (1, 0),
    "rendition_uploaded": (1, 0),
    "original_uploaded": (1, 1),
    "uploaded": (1, 1),
    "completing": (1, 1),
    "completed": (1, 1),
    "rendition_intended": (1, 1),
    "rendition_stored": (1, 1),
}
STOPS: dict[str, tuple[int, int]] = {"answered": (2, 2), "made": (1, 2), "intended": (1, 2), "uploaded": (1, 1)}

# Processes that start with what they import already loaded.
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["bench.harness.request_worker", "httpx_aiohttp"])


@dataclass(frozen=True, slots=True)
class Referee:
    """The database of some trials, and how its processes reach it: directly, or through a PostgREST with a key."""

    database_url: str
    postgrest_url: str = ""
    key: str = field(default="", repr=False)

    @property
    def ledger(self) -> str:
        """What a process is given as its ledger's address."""
        return self.postgrest_url or self.database_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one trial showed."""

    submits: int
    seconds: float
    bodies: frozenset[str]
    answers: int
    orphans: int
    unlisted: int  # of them, those that no row names as discarded or intended
    orphans_left: int = 0  # after one sweep and one emptying of the bin
    dangling: int = 0


def kinds_of(expected: dict[str, tuple[int, int]]) -> Iterator[tuple[str, bool, int]]:
    """Every point with and without jobs, and how many submits are right."""
    for point, (with_jobs, without) in expected.items():
        for has_jobs, submits in ((True, with_jobs), (False, without)):
            if submits:
                yield point, has_jobs, submits


def run(
    referee: Referee,
    folder: Path,
    point: str,
    *,
    has_jobs: Iterable[bool],
    times: int,
    how: Literal["kill", "stop"],
    lease: float = LEASE_SECONDS,
) -> dict[bool, list[Outcome]]:
    """End a leader at one point, `times` over with jobs, without, or both; all at the same time.

    Each has its own picture and followers.
    """
    return asyncio.run(_run(referee, folder, point, has_jobs=has_jobs, times=times, how=how, lease=lease))


def chain(referee: Referee, folder: Path, *, leaders: int, lease: float = CHAIN_LEASE_SECONDS) -> int:
    """Kill one leader after its id is noted, and then its successors one after the other; answers the submits."""
    prompt = f"chain {uuid4().hex}"
    folder.mkdir(parents=True, exist_ok=True)
    points = ["noted", *["acquired"] * (leaders - 1), ""]
    asyncio.run(_lead_in_turn(referee, folder, prompt, points, has_jobs=True, lease=lease))
    assert len(set(read_note(folder, f"{prompt} {leaders}")["bodies"])) == 1
    return submits_of(folder, prompt)


def poison(
    referee: Referee, folder: Path, deaths: dict[bool, int], *, lease: float = CHAIN_LEASE_SECONDS
) -> dict[bool, tuple[str, list[str], int]]:
    """Kill so many leaders in the middle of decoding, with jobs and without; the prompt of each of the two chains,
    what the next two leaders are answered, and the submits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prompts = {has_jobs: f"poison {uuid4().hex}" for has_jobs in deaths}

    async def both() -> None:
        chains = (
            _lead_in_turn(
                referee, folder, prompt, ["decoding"] * deaths[has_jobs] + [""] * 2, has_jobs=has_jobs, lease=lease
            )
            for has_jobs, prompt in prompts.items()
        )
        await asyncio.gather(*chains)

    asyncio.run(both())
    return {
        has_jobs: (prompt, _bodies(folder, prompt, deaths[has_jobs]), submits_of(folder, prompt))
        for has_jobs, prompt in prompts.items()
    }


async def _lead_in_turn(
    referee: Referee, folder: Path, prompt: str, points: list[str], *, has_jobs: bool, lease: float
) -> None:
    """Leaders of one picture, each from its start to its end, which is a kill at its point if it has one."""
    for number, point in enumerate(points):
        name = f"{prompt} {number}"
        order = Order(name, prompt, referee.ledger, str(folder), has_jobs, referee.key, crash_at=point, lease=lease)
        leader = begin(order)
        await ended(leader)
        assert leader.exitcode == (-signal.SIGKILL if point else 0), f"{name} ended with {leader.exitcode}"


def _bodies(folder: Path, prompt: str, first: int) -> list[str]:
    """What the last two leaders of a chain were answered."""
    return [body for number in (first, first + 1) for body in read_note(folder, f"{prompt} {number}")["bodies"]]


async def _run(
    referee: Referee,
    folder: Path,
    point: str,
    *,
    has_jobs: Iterable[bool],
    times: int,
    how: Literal["kill", "stop"],
    lease: float,
) -> dict[bool, list[Outcome]]:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    # Each trial has its own store, so that what is left behind is its own.
    plans = [(plan, f"{how} {point} {uuid4().hex}", folder / uuid4().hex) for plan in has_jobs for _ in range(times)]
    tried = await asyncio.gather(
        *(_trial(referee, home, prompt, point, has_jobs=plan, how=how, lease=lease) for plan, prompt, home in plans)
    )
    url = referee.database_url
    await _clean(url, [home for _, _, home in plans])
    outcomes: dict[bool, list[Outcome]] = {}
    for outcome, (plan, prompt, home) in zip(tried, plans, strict=True):
        orphans, dangling = len(_orphans(url, home, prompt)), len(_paths(url, prompt) - _stored(home))
        outcomes.setdefault(plan, []).append(replace(outcome, orphans_left=orphans, dangling=dangling))
    return outcomes


async def _trial(
    referee: Referee, home: Path, prompt: str, point: str, *, has_jobs: bool, how: Literal["kill", "stop"], lease: float
) -> Outcome:
    home.mkdir()
    order = f"{point}:stop" if how == "stop" else point
    reached = (prompt, referee.ledger, str(home), has_jobs, referee.key)
    # A rendition of its own is made of a kept original only: the leader asks for another format first.
    is_of_rendition = point.startswith("rendition_")
    leader = begin(Order("leader", *reached, crash_at=order, asks_png_first=is_of_rendition, lease=lease))
    if is_of_rendition:
        await ended(leader)  # or its followers would be faster
    followers = begin(Order("followers", *reached, callers=CALLERS, follows=True, lease=lease))
    if how == "kill":
        await ended(leader)
        assert leader.exitcode == -signal.SIGKILL, f"{point} was not reached: {leader.exitcode}"
    else:
        await _until(lambda: is_stopped(leader.pid))
    ended_at = time.time()
    await ended(followers)
    if how == "stop":
        os.kill(leader.pid or 0, signal.SIGCONT)
        await ended(leader)
    note = read_note(home, "followers")
    bodies = frozenset(note["bodies"]) | (
        frozenset(read_note(home, "leader")["bodies"]) if how == "stop" else frozenset()
    )
    return Outcome(
        submits=submits_of(home, prompt),
        seconds=note["answered_at"] - max(ended_at, note["asked_at"]),
        bodies=bodies,
        answers=len(note["bodies"]),
        orphans=len(orphans := _orphans(referee.database_url, home, prompt)),
        unlisted=len(orphans - _listed(referee.database_url)),
    )


def begin(order: Order) -> ForkServerProcess:
    """Start a process."""
    process = forks.Process(target=ask, args=(order,), daemon=True)
    process.start()
    return process


async def ended(process: ForkServerProcess) -> None:
    """Return once it has ended."""
    await _until(lambda: not process.is_alive())


async def _until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def is_stopped(pid: int | None) -> bool:
    """Whether a process stands still after SIGSTOP."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def read_note(folder: Path, name: str) -> dict[str, Any]:
    """What a process left about its answers."""
    note: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return note


def submits_of(folder: Path, prompt: str) -> int:
    """How often the provider was asked for a picture."""
    submits = folder / "submits"
    return sum(line.endswith(f" {prompt}") for line in submits.read_text().splitlines()) if submits.exists() else 0


def _paths(url: str, prompt: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select e.path from copperplate.cache_entries as e"
            " join public.generation_status as g on g.prompt_hash = e.generation_key where g.prompt = %s",
            (prompt,),
        )
        return {row[0] for row in rows}


def _stored(folder: Path) -> set[str]:
    root = folder / "objects" / BUCKET
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name[0] != "."}


def _orphans(url: str, folder: Path, prompt: str) -> set[str]:
    return _stored(folder) - _paths(url, prompt)


def _listed(url: str) -> set[str]:
    """The paths of objects that are discarded, or about to be stored."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select path from copperplate.discarded_objects"
            " union select intent ->> 'path' from public.generation_status where intent is not null"
        )
        return {row[0] for row in rows}


async def _clean(url: str, homes: Iterable[Path]) -> None:
    """One sweep and one emptying of the bin, two hours later by the ledger's clock."""
    ledger = PostgresLedger(make_conninfo(url, options="-c copperplate.clock_offset=2h"), max_connections=1)
    await ledger.open()
    try:
        await ledger.sweep(1_000)
        claimed = await ledger.claim_discarded(1_000)
        for home in homes:
            await FolderStore(home / "objects", BUCKET).remove([path for _, _, path in claimed])
        await ledger.forget_discarded([identity for identity, _, _ in claimed])
    finally:
        await ledger.close()
