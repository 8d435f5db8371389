"""Many ask for one new picture at once: how many of them lead?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

from bench.harness.callers import ask
from bench.harness.databases import cluster, query, request_of, url_of
from bench.harness.figures import ROOT, Figure, Run
from bench.harness.processes import child_environment, dev

PROCESSES, CALLS, AT_ONCE = 8, 10_000, 25
WORKERS, REQUESTS = 4, 2_000
RUNS = 20
GET_READY_SECONDS = 0.1


def measure(run: Run) -> list[Figure]:
    """10,000 `acquire` calls over 8 processes, and 2,000 requests over 4 servers: exactly one generation each."""
    return [*_race_acquires(run), *_race_requests(run)]


def _race_acquires(run: Run) -> list[Figure]:
    leads, errors, slowest = [], 0, []
    with cluster(run) as started, ExitStack() as stack:
        workers = [stack.enter_context(_race_worker(started.owner_url)) for _ in range(PROCESSES)]
        # A first run opens the connections; it is held to nothing.
        _race(workers, "warm")
        for number in range(run.pick(RUNS, 1)):
            outcomes, seconds = _race(workers, f"race-{number}")
            leads.append(float(outcomes["Lead"]))
            slowest.append(seconds * 1000)
            errors += CALLS - outcomes["Lead"] - outcomes["Wait"]
            run.say(f"acquire, run {number + 1}: {dict(outcomes)}")
    how = (
        f"{CALLS:,} `acquire` calls for one new key, over {PROCESSES} processes, {AT_ONCE} at a time in each; "
        "a new key per run."
    )
    return [
        _exactly_one(leads, "acquire: leads per run", how),
        Figure(what="acquire: neither lead nor wait", value=errors, unit="", how=how, exactly=0),
        Figure(what="acquire: slowest call of all runs", value=max(slowest), unit="ms", how=how, rounds=slowest),
    ]


def _race_worker(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.harness.race_worker", url]
    return subprocess.Popen(
        command, cwd=ROOT, env=child_environment({}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _race(workers: list[subprocess.Popen[str]], text: str) -> tuple[Counter[str], float]:
    start = time.time() + GET_READY_SECONDS
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{start} {CALLS // PROCESSES} {AT_ONCE} {text}\n")
        worker.stdin.flush()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for worker in workers:
        assert worker.stdout is not None
        said = json.loads(worker.stdout.readline())
        outcomes += Counter(said["outcomes"])
        slowest = max(slowest, said["slowest"])
    return outcomes, slowest


def _race_requests(run: Run) -> list[Figure]:
    calls, counted, slowest = [], [], []
    wrong = 0
    data = run.folder / "dev"
    with dev(data, workers=WORKERS, COPPERPLATE_PAINTER_SECONDS="0.5") as server:
        url = url_of(data)
        for number in range(run.pick(RUNS, 1)):
            text = f"http-{number}"
            before = _counted_calls(url)
            said = ask(f"{server.address}/1024x1024.jpg?text={text}", connections=REQUESTS, count=REQUESTS)
            key = request_of("/1024x1024.jpg", text).generation_key
            made = query(url, "select api_calls_made from public.generation_status where prompt_hash = %s", key)
            calls.append(float(made[0][0]))
            counted.append(float(_counted_calls(url) - before))
            slowest.append(said["max_ms"])
            wrong += _wrong(said)
            run.say(f"HTTP, run {number + 1}: {made[0][0]} call, {said['statuses']}, slowest {said['max_ms']:.0f} ms")
    how = (
        f"{REQUESTS:,} requests at once for one new URL, each on its own connection, to "
        f"`copperplate dev --workers {WORKERS}`; the painter takes 0.5 s; a new prompt per run."
    )
    return [
        _exactly_one(calls, "HTTP: api_calls_made per run", how),
        _exactly_one(counted, "HTTP: calls in get_generation_stats() per run", how),
        Figure(what="HTTP: answers that were no 200, or other bytes", value=wrong, unit="", how=how, exactly=0),
        Figure(what="HTTP: slowest answer of all runs", value=max(slowest), unit="ms", how=how, rounds=slowest),
    ]


def _wrong(said: dict[str, Any]) -> int:
    """How many answers were not the one picture."""
    same = max(said["digests"].values(), default=0)
    return REQUESTS - int(min(same, said["statuses"].get("200", 0)))


def _counted_calls(url: str) -> int:
    return int(query(url, "select total_api_calls_made from public.get_generation_stats()")[0][0])


def _exactly_one(counts: list[float], what: str, how: str) -> Figure:
    """The count of a run, the worst one if any run had not exactly one."""
    worst = max(counts, key=lambda count: abs(count - 1))
    return Figure(what=what, value=worst, unit="", how=how, rounds=counts, exactly=1)
