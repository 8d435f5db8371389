"""Trials of budgets: leaders killed at named points hold none, and exactly the wall is spent."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from bench.harness.request_worker import Order
from bench.harness.trials import PATIENCE_SECONDS, Referee, begin, ended, read_note, submits_of
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.budgets import Budget

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Where leaders are killed, and what is booked with jobs and without: a submit that was announced may have been sent.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a trial of budgets showed, after every lease ran out."""

    calls: int
    booked: int
    pictures: int
    refused: int
    # What else the last process was answered: of a machine too busy for the trial.
    others: tuple[str, ...]
    # By budget, what it counts: pictures, and the same of the book.
    counted: dict[str, tuple[int, int]]
    # Reservations that a sweep left, and counters that are not what the book says before and after it.
    reserved: int
    faults: int


def spend(places: Iterable[tuple[Referee, Path, bool]], point: str, *, lease: float) -> list[Spent]:
    """End some leaders at one point, then ask for their pictures and more new ones than the wall has room for.

    At the same time in each of the places: a database of its own, a folder, and whether there are jobs.
    """

    async def all_of_them() -> list[Spent]:
        return await asyncio.gather(
            *(_spend(referee, folder, point, has_jobs=has_jobs, lease=lease) for referee, folder, has_jobs in places)
        )

    return asyncio.run(all_of_them())


async def _spend(referee: Referee, folder: Path, point: str, *, has_jobs: bool, lease: float) -> Spent:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    prompts = [f"spend {point} {uuid4().hex}" for _ in range(DOOMED + WALL_PICTURES)]
    reached = (referee.ledger, str(folder), has_jobs, referee.key)
    doomed = [
        begin(Order(f"doomed {number}", prompts[number], *reached, crash_at=point, lease=lease, payer="key:doomed"))
        for number in range(DOOMED)
    ]
    for process in doomed:
        await ended(process)
        assert process.exitcode == -signal.SIGKILL, f"{point} was not reached: {process.exitcode}"
    await asyncio.sleep(lease)
    late = Order("late", prompts[0], *reached, lease=PATIENCE_SECONDS, prompts=tuple(prompts), payer="key:late")
    await ended(begin(replace(late, wall_pictures=WALL_PICTURES)))
    bodies = [str(body) for body in read_note(folder, "late")["bodies"]]
    return Spent(
        calls=sum(submits_of(folder, prompt) for prompt in prompts),
        pictures=sum(body.startswith("picture") for body in bodies),
        refused=sum(body.startswith("budget_") for body in bodies),
        others=tuple(body for body in bodies if not body.startswith(("picture", "budget_"))),
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
