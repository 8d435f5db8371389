"""What do callers that send half a request cost the others?"""

from __future__ import annotations

import http.client
import select
import socket
import time
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from bench.harness.figures import Figure, Run
from bench.harness.processes import COPPERPLATE, family, said_by, started

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 2
HALF_SENT = 1_000 * WORKERS
CLOSED_SECONDS = 15.0
LOW_LIMIT = 1_024
PICTURE = "/1024x1024.jpg?text=kept"
HOW = (
    f"{HALF_SENT} connections to `copperplate dev --workers {WORKERS}` send a request's line, one header and no more, "
    "while two callers ask for a kept picture, each time on a new connection, until all are closed."
)


def measure(run: Run) -> list[Figure]:
    """A thousand half-sent requests for each worker: what others lose, when they are closed, memory."""
    return [*_flood(run, ""), *_flood(run, f"`ulimit -n {LOW_LIMIT}`: ", limit=LOW_LIMIT)]


def _flood(run: Run, label: str, *, limit: int | None = None) -> Iterator[Figure]:
    folder = run.folder / f"limit-{limit}"
    limited = "" if limit is None else f"ulimit -n {limit} && "
    command = ["/bin/sh", "-c", f'{limited}exec "$0" dev --port 0 --workers {WORKERS}', str(COPPERPLATE)]
    statuses: list[int] = []
    with started(command, {"COPPERPLATE_DATA_DIR": str(folder)}, folder) as process:
        port = int(said_by(process, folder, r"^http://127\.0\.0\.1:(\d+)/"))
        over = Event()
        callers = [Thread(target=_keep_asking, args=(port, statuses, over)) for _ in range(2)]
        _ask(port, statuses)
        for caller in callers:
            caller.start()
        time.sleep(1)
        before = _memory(process.pid)
        held = _hold(port)
        grown = _memory(process.pid) - before
        seconds = _wait_until_closed(held)
        over.set()
        for caller in callers:
            caller.join()
    lost = len(statuses) - statuses.count(200)
    run.say(f"{label}{len(statuses)} hits, {lost} lost; closed within {seconds:.1f} s; {grown / 1e6:.1f} MB more")
    if limit is not None:
        said = (folder / "server.log").read_text()
        yield Figure(what=f"{label}lines that name the bound", value=said.count("the bound of this"), unit="", how=HOW)
    yield Figure(what=f"{label}hits of others", value=len(statuses), unit="", how=HOW)
    yield Figure(what=f"{label}hits of others lost", value=lost, unit="", how=HOW, exactly=0)
    yield Figure(what=f"{label}the last is closed after", value=seconds, unit="s", how=HOW, at_most=CLOSED_SECONDS)
    how = "Resident memory of the workers once all were opened, less that before."
    yield Figure(what=f"{label}memory of both workers grows by", value=grown / 1e6, unit="MB", how=how)


def _keep_asking(port: int, statuses: list[int], over: Event) -> None:
    while not over.is_set():
        _ask(port, statuses)


def _ask(port: int, statuses: list[int]) -> None:
    """One hit on a connection of its own; 0 stands for one that was lost."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", PICTURE)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    except (OSError, http.client.HTTPException):
        statuses.append(0)
    finally:
        connection.close()


def _hold(port: int) -> list[tuple[socket.socket, float]]:
    """The connections, and when each was opened."""
    held = []
    for _ in range(HALF_SENT):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(b"GET /1024x1024.jpg HTTP/1.1\r\nHost: x\r\n")
        held.append((connection, time.monotonic()))
    return held


def _wait_until_closed(held: list[tuple[socket.socket, float]]) -> float:
    """Seconds from the opening of a connection to its end, of the one that was held longest."""
    poller = select.poll()
    waiting = {connection.fileno(): (connection, opened_at) for connection, opened_at in held}
    for descriptor in waiting:
        poller.register(descriptor, select.POLLIN)
    longest, give_up_at = 0.0, time.monotonic() + 60
    while waiting and time.monotonic() < give_up_at:
        for descriptor, _ in poller.poll(1_000):
            connection, opened_at = waiting[descriptor]
            if _is_closed(connection):
                poller.unregister(descriptor)
                del waiting[descriptor]
                connection.close()
                longest = max(longest, time.monotonic() - opened_at)
    return longest if not waiting else float("inf")


def _is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(4_096)
    except OSError:
        return True


def _memory(pid: int) -> int:
    """Resident bytes of the workers under a process."""
    workers = [Path(f"/proc/{each}") for each in family(pid)]
    return sum(
        int(worker.joinpath("statm").read_text().split()[1]) * 4_096
        for worker in workers
        if b"spawn_main" in worker.joinpath("cmdline").read_bytes()
    )
