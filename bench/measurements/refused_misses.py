"""Misses that a used-up budget refuses: what they write, and what they cost those who look at stored pictures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.harness.callers import sustain
from bench.harness.databases import cluster, put_picture, query, request_of
from bench.harness.figures import ROOT, Figure
from bench.harness.floods import BEHIND_PROXY
from bench.harness.processes import LOAD_CORE, SERVER_CORE, Server, child_environment, pinned, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.figures import Run

REFUSED, REFUSED_SECONDS, REFUSED_CONNECTIONS = 100_000, 60, 16
# A session of Postgres reports what it wrote at the latest ten seconds after its last statement.
REPORTED_SECONDS = 12.5
# Where requests are counted, whatever became of them.
METER = ("usage_rollups", "usage_batches", "public_totals", "money_totals")
PATH, TEXT = "/1024x1024.jpg", "stored"
# So many refused misses a second beside hits, and as many as a closed loop of connections comes to.
FLOODS = {"100 a second": ("--per-second", "100"), "8 connections in a closed loop": ()}
HIT_CONNECTIONS, FLOOD_CONNECTIONS = 32, 8
# Of a provider that nobody asks.
SETTINGS = {
    "FAL_KEY": "stand-in",
    "COPPERPLATE_FAL_QUEUE_URL": "http://127.0.0.1:1",
    "COPPERPLATE_DAILY_BUDGET_USD": "1000000",
    "COPPERPLATE_ANONYMOUS_BUDGET_USD": "1000000",
    **BEHIND_PROXY,
}


def measure(run: Run) -> list[Figure]:
    """What 100,000 refused misses insert, leave dead and write to WAL; hits per second of others beside them."""
    with _full(run) as (url, server):
        return [*_measure_writes(run, url, server), *_measure_hits(run, server)]


@contextlib.contextmanager
def _full(run: Run) -> Iterator[tuple[str, Server]]:
    """A database and one server, on one core: its budget is used up, and it has a picture of 100 KB."""
    folder = run.folder / "full"
    with pinned(SERVER_CORE), cluster(run) as started:
        url = started.owner_url
        # A millionth of a dollar less than a picture costs.
        query(url, "select public.set_budget('all', 2999, null)")
        with serve(folder, url, log="server", **SETTINGS) as server:
            asyncio.run(put_picture(folder, url, request_of(PATH, TEXT, **SETTINGS), 102_400))
            yield url, server


def _refuse(server: Server, *options: str) -> dict[str, Any]:
    """Ask for different misses, each of another address; all must be refused."""
    with _refusing(server, *options) as process:
        output, _ = process.communicate(timeout=REFUSED_SECONDS * 3)
    said: dict[str, Any] = json.loads(output)
    if set(said["statuses"]) != {"402"} or said["errors"]:
        raise RuntimeError(f"not every miss was refused: {said['statuses']}, {said['errors']} errors")
    return said


@contextlib.contextmanager
def _refusing(server: Server, *options: str) -> Iterator[subprocess.Popen[str]]:
    url = f"{server.address}/512x512.png?text=refused+{time.monotonic_ns():x}+{{n}}"
    command = [
        sys.executable,
        "-m",
        "bench.harness.load",
        url,
        "--header",
        "X-Forwarded-For: 2001:db8:0:{n}::1",
        *options,
    ]
    with pinned(LOAD_CORE):
        process = subprocess.Popen(command, cwd=ROOT, env=child_environment({}), stdout=subprocess.PIPE, text=True)
    yield process


def _measure_writes(run: Run, url: str, server: Server) -> list[Figure]:
    _refuse(server, "--count", "200")
    time.sleep(REPORTED_SECONDS)
    before, used = _written(url), server.processor_seconds()
    seconds = str(run.pick(REFUSED_SECONDS, 5))
    said = _refuse(server, "--count", str(REFUSED), "--seconds", seconds, "--connections", str(REFUSED_CONNECTIONS))
    used = server.processor_seconds() - used
    time.sleep(REPORTED_SECONDS)
    written = [now - then for now, then in zip(_written(url), before, strict=True)]
    inserted, dead, of_meter, wal = written
    count = said["requests"]
    how = (
        f"{count:,} refused misses, each of another text and address, {REFUSED_CONNECTIONS} connections, "
        f"{said['per_second']:,.0f} a second, p99 {said['p99_ms']:.0f} ms; one server process and Postgres on one "
        f"core, the load on the other. Requests are counted every two seconds, in {of_meter:,.0f} rows or versions "
        "of them here, whatever their number: that is the WAL."
    )
    return [
        Figure(what="refused misses a second", value=said["per_second"], unit="/s", how=how),
        Figure(what="processor time of a refused miss, the server alone", value=used / count * 1e6, unit="µs", how=how),
        Figure(what="rows inserted", value=inserted, unit="rows", how=how, exactly=0),
        Figure(what="dead tuples", value=dead, unit="", how=how, exactly=0),
        Figure(what="WAL of a refused miss", value=wal / count, unit="bytes", how=how, at_most=10),
    ]


def _written(url: str) -> tuple[float, ...]:
    """Rows inserted, versions of rows left behind, the same of what counts requests, and bytes of WAL."""
    return query(
        url,
        "select sum(n_tup_ins) filter (where not c)::float8, sum(n_tup_upd + n_tup_del) filter (where not c)::float8,"
        " sum(n_tup_ins + n_tup_upd + n_tup_del) filter (where c)::float8,"
        " (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8"
        " from pg_stat_user_tables cross join lateral (select relname = any(%s)) as m (c)"
        " where schemaname in ('public', 'copperplate')",
        list(METER),
    )[0]


def _measure_hits(run: Run, server: Server) -> list[Figure]:
    rounds, seconds = run.pick(5, 2), run.pick(6, 2)
    target = f"{server.address}{PATH}?text={TEXT}"
    alone: list[float] = []
    beside: dict[str, list[tuple[float, float]]] = {name: [] for name in FLOODS}
    sustain(target, connections=HIT_CONNECTIONS, seconds=1)
    for _ in range(rounds):
        alone.append(sustain(target, connections=HIT_CONNECTIONS, seconds=seconds).per_second)
        for name, options in FLOODS.items():
            pace = ("--connections", str(FLOOD_CONNECTIONS), "--seconds", str(seconds + 2), *options)
            with _refusing(server, *pace) as process:
                time.sleep(1)
                rate = sustain(target, connections=HIT_CONNECTIONS, seconds=seconds).per_second
                said = json.loads(process.communicate(timeout=60)[0])
            beside[name].append((rate, said["per_second"]))
        run.say(f"hits alone {alone[-1]:,.0f}/s, " + ", ".join(f"{name} {seen[-1]}" for name, seen in beside.items()))
    figures = []
    for name, seen in beside.items():
        flood = median(refused for _, refused in seen)
        ratios = [rate / base for (rate, _), base in zip(seen, alone, strict=True)]
        figures.append(
            Figure(
                what=f"hits beside refused misses, {name}, to hits alone",
                value=median(ratios),
                unit="",
                how=f"{HIT_CONNECTIONS} connections on one picture of 100 KB ({median(alone):,.0f} a second alone), "
                f"{FLOOD_CONNECTIONS} that ask for refused misses ({flood:,.0f} a second); one server process and "
                "Postgres on one core, all of the load on the other.",
                rounds=ratios,
                at_least=0.8 if "second" in name else None,
            )
        )
    return figures
