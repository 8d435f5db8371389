"""A hundred thousand calls on credits by many processes at once: is every sum right whenever they rest?"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from bench.harness.databases import cluster, query
from bench.harness.figures import Figure, Run
from bench.harness.processes import hear, program, tell

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES, AT_ONCE = 8, 6
CALLS, POINTS = 100_000, 10
# A grant whose reference was used by somebody who is forgotten since; a person has to look.
EXPECTED = "ZC009"


@dataclass
class Played:
    """What many random calls showed."""

    calls: int = 0
    seconds: float = 0.0
    names: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: list[object] = field(default_factory=list)
    negative: int = 0
    deadlocks: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def unexpected(self) -> Counter[str]:
        """Errors, by SQLSTATE, that no call may answer."""
        return Counter({state: count for state, count in self.errors.items() if state != EXPECTED})


def measure(run: Run) -> list[Figure]:
    """100,000 random calls with replays over 8 processes: faults, negative accounts, deadlocks."""
    with cluster(run) as started:
        played = play(started.owner_url, calls=run.pick(CALLS, 2_000), points=run.pick(POINTS, 2), say=run.say)
    moved = ", ".join(f"{count:,} {kind}" for kind, count in sorted(played.kinds.items()))
    how = (
        f"Calls by {PROCESSES} processes, {AT_ONCE} at a time in each, on 20 users and 300 pictures: grants, leads, "
        "completions, failures, takeovers, deliveries, refunds, missing objects, deletions, sweeps that see everything "
        "twenty minutes later, users forgotten, and a quarter of all calls made again later. A durable cluster. "
        f"The ledger of credits then had {moved}. Sums are audited each time all processes rest."
    )
    return [
        Figure(what="calls", value=played.calls, unit="", how=how),
        Figure(what="faults in audit_credits()", value=len(played.faults), unit="", how=how, exactly=0),
        Figure(what="accounts below zero, or that hold more than they have", value=played.negative, unit="", how=how,
               exactly=0),
        Figure(what="deadlocks (pg_stat_database)", value=played.deadlocks, unit="", how=how, exactly=0),
        Figure(what="calls that failed", value=played.unexpected.total(), unit="", how=how, exactly=0),
        Figure(what="calls per second", value=played.calls / played.seconds, unit="/s", how=how),
    ]  # fmt: skip


def play(
    url: str, *, calls: int, points: int, say: Callable[[str], None], processes: int = PROCESSES, seed: str = "credits"
) -> Played:
    """So many calls in all, and an audit at so many points where all processes rest."""
    played, before = Played(), _deadlocks(url)
    with ExitStack() as stack:
        callers = [
            stack.enter_context(program("bench.harness.credit_worker", url, f"{seed} {number}"))
            for number in range(processes)
        ]
        for point in range(points):
            began = time.monotonic()
            for caller in callers:
                tell(caller, f"{calls // points // processes} {AT_ONCE}")
            for caller in callers:
                _add(played, hear(caller))
            played.seconds += time.monotonic() - began
            _audit(url, played)
            say(f"point {point + 1}: {dict(played.names)}, errors {dict(played.errors)}, faults {played.faults}")
    played.calls = played.names.total()
    played.deadlocks = _deadlocks(url) - before
    return played


def _add(played: Played, line: str) -> None:
    said = json.loads(line)
    played.names += Counter(said["names"])
    played.errors += Counter(said["errors"])


def _audit(url: str, played: Played) -> None:
    audit = query(url, "select public.audit_credits()")[0][0]
    played.faults += audit["faults"]
    if audit["balance"] != audit["granted"] - audit["settled"] + audit["refunded"]:
        played.faults.append(audit)
    below = "select count(*) from copperplate.accounts where balance < 0 or held < 0 or held > balance"
    played.negative += query(url, below)[0][0]
    played.kinds = Counter(dict(query(url, "select kind, count(*) from copperplate.credit_ledger group by kind")))


def _deadlocks(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        # What other sessions did is flushed when they are idle; this one reads it anew.
        connection.execute("select pg_stat_clear_snapshot()")
        row = connection.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])
