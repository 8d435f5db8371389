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
from copperplate.budgets import Budget

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

# The same with what is booked: a submit that was announced may have been sent.
BOOKED: dict[str, tuple[int, int]] = {
    "acquired": (1, 1),
    "announced": (2, 2),
    "answered": (2, 2),
    "noted": (1, 0),
    "made": (1, 2),
    "intended": (1, 2),
    "uploaded": (1, 1),
}
DOOMED = 3
WALL_PICTURES = 9

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["bench.harness.request_worker", "psycopg", "psycopg_pool", "postgrest", "httpx_aiohttp"])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a trial of budgets showed, after every lease ran out."""

    calls: int
    booked: int
    pictures: int
    refused: int
    # By budget, what it counts: pictures, and the same of the book.
    counted: dict[str, tuple[int, int]]
    # Reservations that a sweep left, and counters that are not what the book says before and after it.
    reserved: int
    faults: int


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
    has_jobs: bool,
    times: int,
    how: Literal["kill", "stop"],
    lease: float = LEASE_SECONDS,
) -> list[Outcome]:
    """End a leader at one point, `times` over at the same time, each with its own picture and followers."""
    return asyncio.run(_run(referee, folder, point, has_jobs=has_jobs, times=times, how=how, lease=lease))


def chain(referee: Referee, folder: Path, *, leaders: int, lease: float = CHAIN_LEASE_SECONDS) -> int:
    """Kill one leader after its id is noted, and then its successors one after the other; answers the submits."""
    prompt = f"chain {uuid4().hex}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(leaders + 1):
        point = "noted" if number == 0 else "acquired" if number < leaders else ""
        _lead(referee, folder, f"{prompt} {number}", prompt, point, has_jobs=True, lease=lease)
    assert len(set(_note(folder, f"{prompt} {leaders}")["bodies"])) == 1
    return _submits(folder, prompt)


def poison(
    referee: Referee, folder: Path, *, has_jobs: bool, deaths: int, lease: float = CHAIN_LEASE_SECONDS
) -> tuple[list[str], int]:
    """Kill leaders in the middle of decoding; what the next two are answered, and the submits."""
    prompt = f"poison {uuid4().hex}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(deaths + 2):
        point = "decoding" if number < deaths else ""
        _lead(referee, folder, f"{prompt} {number}", prompt, point, has_jobs=has_jobs, lease=lease)
    bodies = [body for number in (deaths, deaths + 1) for body in _note(folder, f"{prompt} {number}")["bodies"]]
    return bodies, _submits(folder, prompt)


def spend(referee: Referee, folder: Path, point: str, *, has_jobs: bool, lease: float) -> Spent:
    """End some leaders at one point, then ask for their pictures and more new ones than the wall has room for."""
    return asyncio.run(_spend(referee, folder, point, has_jobs=has_jobs, lease=lease))


def _lead(referee: Referee, folder: Path, name: str, prompt: str, point: str, *, has_jobs: bool, lease: float) -> None:
    """One leader from its start to its end, which is a kill at `point` if there is one."""
    order = Order(name, prompt, referee.ledger, str(folder), has_jobs, referee.key, crash_at=point, lease=lease)
    leader = _begin(order)
    leader.join(PATIENCE_SECONDS)
    assert leader.exitcode == (-signal.SIGKILL if point else 0), f"{name} ended with {leader.exitcode}"


async def _run(
    referee: Referee,
    folder: Path,
    point: str,
    *,
    has_jobs: bool,
    times: int,
    how: Literal["kill", "stop"],
    lease: float,
) -> list[Outcome]:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    # Each trial has its own store, so that what is left behind is its own.
    homes = {f"{how} {point} {uuid4().hex}": folder / uuid4().hex for _ in range(times)}
    tried = await asyncio.gather(
        *(
            _trial(referee, home, prompt, point, has_jobs=has_jobs, how=how, lease=lease)
            for prompt, home in homes.items()
        )
    )
    url = referee.database_url
    await _clean(url, homes.values())
    return [
        replace(
            outcome, orphans_left=len(_orphans(url, home, prompt)), dangling=len(_paths(url, prompt) - _stored(home))
        )
        for outcome, (prompt, home) in zip(tried, homes.items(), strict=True)
    ]


async def _trial(
    referee: Referee, home: Path, prompt: str, point: str, *, has_jobs: bool, how: Literal["kill", "stop"], lease: float
) -> Outcome:
    home.mkdir()
    order = f"{point}:stop" if how == "stop" else point
    reached = (prompt, referee.ledger, str(home), has_jobs, referee.key)
    # A rendition of its own is made of a kept original only: the leader asks for another format first.
    is_of_rendition = point.startswith("rendition_")
    leader = _begin(Order("leader", *reached, crash_at=order, asks_png_first=is_of_rendition, lease=lease))
    if is_of_rendition:
        await _ended(leader)  # or its followers would be faster
    followers = _begin(Order("followers", *reached, callers=CALLERS, follows=True, lease=lease))
    if how == "kill":
        await _ended(leader)
        assert leader.exitcode == -signal.SIGKILL, f"{point} was not reached: {leader.exitcode}"
    else:
        await _until(lambda: _is_stopped(leader.pid))
    ended_at = time.time()
    await _ended(followers)
    if how == "stop":
        os.kill(leader.pid or 0, signal.SIGCONT)
        await _ended(leader)
    note = _note(home, "followers")
    bodies = frozenset(note["bodies"]) | (frozenset(_note(home, "leader")["bodies"]) if how == "stop" else frozenset())
    return Outcome(
        submits=_submits(home, prompt),
        seconds=note["answered_at"] - max(ended_at, note["asked_at"]),
        bodies=bodies,
        answers=len(note["bodies"]),
        orphans=len(orphans := _orphans(referee.database_url, home, prompt)),
        unlisted=len(orphans - _listed(referee.database_url)),
    )


async def _spend(referee: Referee, folder: Path, point: str, *, has_jobs: bool, lease: float) -> Spent:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    prompts = [f"spend {point} {uuid4().hex}" for _ in range(DOOMED + WALL_PICTURES)]
    reached = (referee.ledger, str(folder), has_jobs, referee.key)
    doomed = [
        _begin(Order(f"doomed {number}", prompts[number], *reached, crash_at=point, lease=lease, payer="key:doomed"))
        for number in range(DOOMED)
    ]
    for process in doomed:
        await _ended(process)
        assert process.exitcode == -signal.SIGKILL, f"{point} was not reached: {process.exitcode}"
    await asyncio.sleep(lease)
    late = Order("late", prompts[0], *reached, lease=PATIENCE_SECONDS, prompts=tuple(prompts), payer="key:late")
    await _ended(_begin(replace(late, wall_pictures=WALL_PICTURES)))
    bodies = [str(body) for body in _note(folder, "late")["bodies"]]
    return Spent(
        calls=sum(_submits(folder, prompt) for prompt in prompts),
        pictures=sum(body.startswith("picture") for body in bodies),
        refused=sum(body.startswith("budget_") for body in bodies),
        **await _look_at_budgets(referee.database_url),
    )


async def _look_at_budgets(url: str) -> dict[str, Any]:
    """What the ledger counts once every lease ran out, before and after a sweep."""
    ledger = PostgresLedger(make_conninfo(url, options="-c copperplate.clock_offset=11min"), max_connections=1)
    await ledger.open()
    names = ("all", "provider:counting", "key:doomed", "key:late")
    try:
        states = await ledger.read_budgets([Budget(name=name) for name in names])
        faults = len((await ledger.audit_budgets())["faults"])
        await ledger.sweep(1_000)
        faults += len((await ledger.audit_budgets())["faults"])
    finally:
        await ledger.close()
    with psycopg.connect(url) as connection:
        booked = {
            name: connection.execute(
                "select count(*) from copperplate.submits where %s = any(budgets)", (name,)
            ).fetchall()[0][0]
            for name in names
        }
        [(reserved,)] = connection.execute(
            "select count(*) from public.generation_status where reserved is not null"
        ).fetchall()
    return {
        "booked": booked["all"],
        "counted": {state.budget: (state.used_pictures, booked[state.budget]) for state in states},
        "reserved": reserved,
        "faults": faults,
    }


def _begin(order: Order) -> ForkServerProcess:
    process = _forks.Process(target=ask, args=(order,), daemon=True)
    process.start()
    return process


async def _ended(process: ForkServerProcess) -> None:
    await _until(lambda: not process.is_alive())


async def _until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def _is_stopped(pid: int | None) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _note(folder: Path, name: str) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return note


def _submits(folder: Path, prompt: str) -> int:
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
