"""Pictures in memory while the database or the object store stands still."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.harness.callers import sustain, tool
from bench.harness.databases import cluster
from bench.harness.figures import Figure, median_figure, ratios
from bench.harness.processes import SERVER_CORE, family, hear, pinned, program, serve, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.harness.figures import Run
    from bench.harness.processes import Server

TARGET = "/1024x1024.jpg?text=bench"
CONNECTIONS = 32
AT_LEAST, FIRST_AT_MOST_SECONDS = 0.95, 0.35
# Longer than copies are trusted without a read of the feed.
QUIET_SECONDS = 4.0


@dataclass(slots=True)
class _Seen:
    """Hits per second with a part and without it, and seconds of the first answer without."""

    before: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    picture: bytes = b""


def measure(run: Run) -> list[Figure]:
    """Warm hits per second with the database stopped (SIGSTOP), and with Storage stopped, beside the same server."""
    return [*_measure_database(run), *_measure_storage(run)]


def _measure_database(run: Run) -> list[Figure]:
    with ExitStack() as stack:
        with pinned(SERVER_CORE):
            started = stack.enter_context(cluster(run))
            settings = {"COPPERPLATE_PROVIDER": "painter"}
            server = stack.enter_context(serve(run.folder / "served", started.owner_url, log="served", **settings))
        seen = _take_turns(run, "database", server, lambda: _stop_all(started.pid), lambda: _continue_all(started.pid))
    how = (
        f"`copperplate serve`, one worker, with its database on one core, {tool()} with {CONNECTIONS} connections on "
        "the other; one picture in memory. In turns: the database answers; all its processes are stopped (SIGSTOP), "
        f"nobody asks for {QUIET_SECONDS:.0f} s, one caller asks (the first), then the load; it goes on (SIGCONT)."
    )
    return _figures("the database stopped", seen, how)


def _measure_storage(run: Run) -> list[Figure]:
    with ExitStack() as stack:
        with pinned(SERVER_CORE):
            started = stack.enter_context(cluster(run))
            project = stack.enter_context(program("bench.harness.project", started.url(role="authenticator")))
            url, key = hear(project).split()
            environ = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": key, "COPPERPLATE_PROVIDER": "painter"}
            server = stack.enter_context(serve(run.folder / "served-storage", "", log="served", **environ))

        def order(what: str) -> None:
            tell(project, what)
            hear(project)

        seen = _take_turns(run, "Storage", server, lambda: order("stop"), lambda: order("go"))
    how = (
        "The same over a project of Supabase: a real PostgREST, and a stand-in of Storage that answers nobody while it "
        "is stopped. The gateway of both is on the core of the server."
    )
    return _figures("Storage stopped", seen, how)


def _stop_all(pid: int) -> None:
    """Stop a process and its children, those first that could start others."""
    for each in family(pid):
        os.kill(each, signal.SIGSTOP)


def _continue_all(pid: int) -> None:
    for each in family(pid):
        os.kill(each, signal.SIGCONT)


def _take_turns(run: Run, what: str, server: Server, stop: Callable[[], None], go: Callable[[], None]) -> _Seen:
    seen = _Seen()
    before, away, firsts, seconds = seen.before, seen.away, seen.firsts, run.pick(4, 1)
    seen.picture = _ask(server, b"")[1]  # it is made
    _ask(server, seen.picture)
    for number in range(run.pick(8, 1)):
        before.append(sustain(server.address + TARGET, connections=CONNECTIONS, seconds=seconds).per_second)
        stop()
        try:
            time.sleep(QUIET_SECONDS)
            firsts.append(_ask(server, seen.picture)[0])
            away.append(sustain(server.address + TARGET, connections=CONNECTIONS, seconds=seconds).per_second)
        finally:
            go()
        run.say(f"{what}, round {number + 1}: {before[-1]:,.0f}/s, {away[-1]:,.0f}/s, first {firsts[-1]:.3f} s")
        time.sleep(QUIET_SECONDS)
        _ask(server, seen.picture)
    return seen


def _ask(server: Server, picture: bytes) -> tuple[float, bytes]:
    """Seconds until the picture was there, and it; it must be the one that was made."""
    began = time.monotonic()
    with urllib.request.urlopen(server.address + TARGET, timeout=60) as answer:
        body = answer.read()
    if picture not in (b"", body):
        raise RuntimeError("another picture")
    return time.monotonic() - began, body


def _figures(what: str, seen: _Seen, how: str) -> list[Figure]:
    before, away, firsts = seen.before, seen.away, seen.firsts
    slowest = max(firsts)
    return [
        median_figure(
            ratios(away, before), what=f"{what}: hits per second to before", unit="ratio", how=how, at_least=AT_LEAST
        ),
        Figure(
            what=f"{what}: the slowest first answer",
            value=slowest,
            unit="s",
            how=how,
            rounds=firsts,
            at_most=FIRST_AT_MOST_SECONDS,
        ),
        median_figure(before, what=f"{what}: hits before", unit="/s", how=how),
        median_figure(away, what=f"{what}: hits", unit="/s", how=how),
    ]
