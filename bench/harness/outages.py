"""A database that is restarted, killed and held down while real processes ask for pictures."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from bench.harness.databases import query
from bench.harness.outage_worker import OVER, IdempotencyRecord, Order, ask_each, ask_on, read_note
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.stack import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

PROCESSES = 4
# Longer than a call to the ledger may take, so that whoever asks meanwhile is refused.
DOWN_SECONDS = 4.0
# From the end of the database to the last submit that was announced before it.
IN_FLIGHT_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
LEASES = "select count(*) from public.generation_status where lease_until > copperplate.clock()"

Blow = Literal["restart", "kill", "hold down"]

_forks = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """When the database was held down, in seconds since the epoch, and what was submitted meanwhile."""

    began_at: float
    ended_at: float
    submits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What was asked, what it cost, and what was left."""

    asks: list[IdempotencyRecord]
    asks_again: list[IdempotencyRecord]  # each picture once more, when no lease was left
    outages: list[Outage]
    submits: Counter[str]  # by prompt
    stuck_seconds: float  # from the last question to the moment when no lease held anybody up any more

    @property
    def refused(self) -> list[IdempotencyRecord]:
        """Those who were told that the database does not answer."""
        return [each for each in self.asks if each.answer == "ledger_unavailable"]

    @property
    def refused_while_down(self) -> list[IdempotencyRecord]:
        """Of these, who asked while it was held down."""
        return [each for each in self.refused if any(o.began_at <= each.began_at <= o.ended_at for o in self.outages)]

    @property
    def unexpected(self) -> Counter[str]:
        """Answers other than a picture, and that the database does not answer."""
        return Counter(each.answer for each in self.asks if each.answer not in ("picture", "ledger_unavailable"))


def run(folder: Path, blows: Sequence[Blow], *, up_seconds: float, lease_seconds: float) -> Aftermath:
    """Ask for pictures while the blows fall, `up_seconds` apart; then, with no lease left, for each once more."""
    folder.chmod(0o755)
    database = _Database(folder)
    try:
        user_requests = [_begin(folder, database.url, number, lease_seconds) for number in range(PROCESSES)]
        _until(lambda: len(_book(folder)) >= 2 * PROCESSES)
        outages = [outage for blow in blows if (outage := _strike(database, folder, blow, up_seconds))]
        (folder / OVER).touch()
        over = time.monotonic()
        for process in user_requests:
            process.join(PATIENCE_SECONDS)
            assert process.exitcode == 0, f"a process ended with {process.exitcode}"
        _until(lambda: query(database.url, LEASES) == [(0,)])
        stuck_seconds = time.monotonic() - over
        asks = [each for number in range(PROCESSES) for each in read_note(folder, _name(number))]
        asks_again = ask_each(database.url, folder, sorted({each.prompt for each in asks}))
        submits = Counter(line.partition(" ")[2] for line in _book(folder))
    finally:
        database.stop()
    return Aftermath(asks=asks, asks_again=asks_again, outages=outages, submits=submits, stuck_seconds=stuck_seconds)


class _Database:
    """A cluster that can be away for a while, always at the same address."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._cluster = Cluster.start(self._data)
        prepare(self._cluster, ignore)
        self.url = self._cluster.owner_url

    def stop(self) -> None:
        self._cluster.stop()

    def start(self) -> None:
        self._cluster = Cluster.start(self._data)
        assert self._cluster.owner_url == self.url

    def end(self, number: signal.Signals) -> None:
        """End it, and return once its supervisor has it answering again."""
        before = self._cluster.pid
        os.kill(before, number)
        _until(lambda: self._cluster.pid != before)
        self._cluster.ensure_running()


def _strike(database: _Database, folder: Path, blow: Blow, up_seconds: float) -> Outage | None:
    time.sleep(up_seconds)
    match blow:
        case "restart":
            database.end(signal.SIGINT)
        case "kill":
            database.end(signal.SIGKILL)
        case "hold down":
            database.stop()
            began_at = time.time()
            time.sleep(IN_FLIGHT_SECONDS)
            before = len(_book(folder))
            time.sleep(DOWN_SECONDS - IN_FLIGHT_SECONDS)
            submits, ended_at = len(_book(folder)) - before, time.time()
            database.start()
            return Outage(began_at=began_at, ended_at=ended_at, submits=submits)
        case _:
            assert_never(blow)
    return None


def _begin(folder: Path, url: str, number: int, lease_seconds: float) -> ForkServerProcess:
    order = Order(
        name=_name(number), url=url, folder=str(folder), has_jobs=number % 2 == 0, lease_seconds=lease_seconds
    )
    process = _forks.Process(target=ask_on, args=(order,), daemon=True)
    process.start()
    return process


def _name(number: int) -> str:
    return f"process-{number}"


def _book(folder: Path) -> list[str]:
    submits = folder / "submits"
    return submits.read_text().splitlines() if submits.exists() else []


def _until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < give_up_at, "not within two minutes"
        time.sleep(0.01)
