"""What does a follower of a stream cost, in memory and in time, beside a bare ASGI callable?"""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness.figures import Figure, Run, median_figure, percentile, ratios
from bench.harness.processes import LOAD_CORE, SERVER_CORE, free_port, pinned, started, wait_until_answering
from bench.harness.stream_app import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLLOWERS = 1_000
EVENTS = 12
PAUSE_SECONDS = 0.3
TIMEOUT_SECONDS = 30.0
MOST_KB = 12.0
WORST_RATIO = 1.3
PAGE_BYTES = 4_096
REQUEST = f"GET /api/generations/{KEY}/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n"
HOW = (
    f"{FOLLOWERS:,} connections follow one stream of one process (httptools, uvloop); one event is the progress of a "
    f"generation, {EVENTS} of them a round. Servers turn by turn, each started anew for a round, on a core of its own "
    "beside that of the followers. The bare callable awaits an event and sends the same bytes: no comments, no end, no "
    "bound, no look-out for callers that are gone."
)
MEMORY_HOW = "Resident memory once all were told the first event, less that after one was, by their number."


def measure(run: Run) -> list[Figure]:
    """1,000 followers of one stream: memory of each, and from an event to the last who is told."""
    kilobytes: dict[str, list[float]] = {"ours": [], "bare": []}
    told: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for number in range(run.pick(7, 1)):
        for which in ("bare", "ours") if number % 2 else ("ours", "bare"):
            grown, milliseconds = _round(run, which, f"{which}-{number}")
            kilobytes[which].append(grown / FOLLOWERS / 1_000)
            told[which].append(milliseconds)
            spread = [percentile(milliseconds, percent) for percent in (50, 99)]
            run.say(
                "{}: {:.1f} kB a follower; p50 {:.0f} ms, p99 {:.0f} ms".format(which, kilobytes[which][-1], *spread)
            )
    return _figures(kilobytes, told)


def _figures(kilobytes: dict[str, list[float]], told: dict[str, list[list[float]]]) -> list[Figure]:
    p50s, p99s = (
        {which: [percentile(each, percent) for each in rounds] for which, rounds in told.items()}
        for percent in (50, 99)
    )
    return [
        median_figure(kilobytes["ours"], what="memory of a follower", unit="kB", how=MEMORY_HOW, at_most=MOST_KB),
        median_figure(kilobytes["bare"], what="memory of a follower, bare callable", unit="kB", how=MEMORY_HOW),
        median_figure(p50s["ours"], what="an event, p50", unit="ms", how=HOW),
        median_figure(p99s["ours"], what="an event, p99", unit="ms", how=HOW),
        median_figure(p50s["bare"], what="an event, p50, bare callable", unit="ms", how=HOW),
        median_figure(p99s["bare"], what="an event, p99, bare callable", unit="ms", how=HOW),
        median_figure(
            ratios(p99s["ours"], p99s["bare"]),
            what="p99 to the bare callable's",
            unit="ratio",
            how=HOW,
            at_most=WORST_RATIO,
        ),
    ]


def _round(run: Run, which: str, log: str) -> tuple[int, list[float]]:
    """Bytes by which the server grew, and milliseconds from each event to each follower."""
    port = free_port()
    command = [sys.executable, "-m", "bench.harness.stream_app", str(port), which]
    with contextlib.ExitStack() as stack:
        with pinned(SERVER_CORE):
            process = stack.enter_context(started(command, {}, run.folder, log=log))
        stack.enter_context(pinned(LOAD_CORE))
        wait_until_answering(port)
        _follow(port, 1, stack)
        before = _memory(process.pid)
        followers = _follow(port, FOLLOWERS, stack)
        grown = _memory(process.pid) - before
        milliseconds = []
        for _ in range(EVENTS):
            time.sleep(PAUSE_SECONDS)
            fired_at = _fire(port)
            milliseconds += [(told_at - fired_at) * 1000 for told_at in _told_at(followers)]
        return grown, milliseconds


def _follow(port: int, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Open streams, and wait until each was told the first event."""
    followers = []
    for _ in range(count):
        follower = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS))
        follower.sendall((REQUEST % port).encode())
        followers.append(follower)
    for follower in followers:
        seen = b""
        while b"\ndata: " not in seen or not seen.endswith(b"\n\n\r\n"):
            seen += (piece := follower.recv(65_536))
            if not piece:
                raise RuntimeError(f"a stream ended: {seen!r}")
    return followers


def _fire(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    connection.request("GET", "/fire")
    fired_at = float(connection.getresponse().read())
    connection.close()
    return fired_at


def _told_at(followers: list[socket.socket]) -> Iterator[float]:
    """When each has heard of the event."""
    with selectors.DefaultSelector() as selector:
        for follower in followers:
            selector.register(follower, selectors.EVENT_READ)
        left = len(followers)
        while left:
            ready = selector.select(TIMEOUT_SECONDS)
            if not ready:
                raise RuntimeError(f"{left} followers were not told")
            for key, _ in ready:
                if b"\ndata: " in (piece := key.fileobj.recv(65_536)):  # type: ignore[union-attr]
                    yield time.monotonic()
                    selector.unregister(key.fileobj)
                    left -= 1
                elif not piece:
                    raise RuntimeError("a stream ended")


def _memory(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
