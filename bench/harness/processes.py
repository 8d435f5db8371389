"""Servers that a measurement starts, pins to a core, and stops."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness.figures import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
COPPERPLATE = Path(sys.executable).with_name("copperplate")
SERVER_CORE, LOAD_CORE = 0, 1
_OURS = re.compile(r"COPPERPLATE_|SUPABASE_|DATABASE_URL$|REDIS_URL$|PORT$|VERCEL|PYTHONDONTWRITEBYTECODE$|PG[A-Z]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs."""

    address: str
    pid: int

    def processor_seconds(self) -> float:
        """What it and all its children have used so far; 0 where the system does not say."""
        files = (file for pid in family(self.pid) for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started inside run on one core, where there are two and the system can."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def program(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of ours that reads lines and answers each with one; it ends when its input does."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=child_environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Give a program its next line."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """What a program answers; fails where it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, f"a process ended with {process.wait(10)}"
    return line


@contextlib.contextmanager
def dev(folder: Path, *, workers: int, **settings: str) -> Iterator[Server]:
    """`copperplate dev` over a folder, its Postgres included."""
    command = [str(COPPERPLATE), "dev", "--port", "0", "--workers", str(workers)]
    with started(command, {"COPPERPLATE_DATA_DIR": str(folder), **settings}, folder) as process:
        yield Server(address=said_by(process, folder, r"^(http://[^/]+)/"), pid=process.pid)


@contextlib.contextmanager
def serve(
    folder: Path, database_url: str, *, log: str, options: Sequence[str] = (), **settings: str
) -> Iterator[Server]:
    """`copperplate serve` with one worker over a database and a folder, or without a URL over what `settings` say."""
    port = free_port()
    command = [str(COPPERPLATE), "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options]
    environ = {"COPPERPLATE_DATA_DIR": str(folder), **settings}
    if database_url:
        environ["DATABASE_URL"] = database_url
    with started(command, environ, folder, log=log) as process:
        wait_until_answering(port)
        yield Server(address=f"http://127.0.0.1:{port}", pid=process.pid)


@contextlib.contextmanager
def asgi(command: Sequence[str], folder: Path, body: Path, *, port: int, log: str, **settings: str) -> Iterator[Server]:
    """Another server with one of the apps of this folder, answering the bytes of `body`."""
    with started(command, {"BENCH_BODY": str(body), **settings}, folder, log=log) as process:
        wait_until_answering(port)
        yield Server(address=f"http://127.0.0.1:{port}", pid=process.pid)


def uvicorn(app: str, port: int, *, http: str = "httptools", loop: str = "uvloop", has_date: bool = False) -> list[str]:
    """A command line of uvicorn, set as our own server sets it; with the header that says when, where it `has_date`."""
    options = ["--no-access-log", "--no-server-header", "--no-proxy-headers"]
    options += [] if has_date else ["--no-date-header"]
    where = ["--port", str(port), "--http", http, "--loop", loop, "--log-level", "warning", "--lifespan", "off"]
    return [sys.executable, "-m", "uvicorn", f"bench.harness.{app}:app", *where, *options]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answering(port: int) -> None:
    """Return once somebody listens on a port."""
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port} after {READY_SECONDS:.0f} s")


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what would change a measurement."""
    return {**{name: value for name, value in os.environ.items() if not _OURS.match(name)}, **settings}


@contextlib.contextmanager
def started(
    command: Sequence[str], settings: Mapping[str, str], folder: Path, *, log: str = "server"
) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{log}.log").open("w") as stderr:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=child_environment(settings),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def said_by(process: subprocess.Popen[str], folder: Path, pattern: str, *, seconds: float = READY_SECONDS) -> str:
    assert process.stdout is not None
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if select.select([process.stdout], [], [], 0.1)[0]:
            line = process.stdout.readline()
            if match := re.search(pattern, line):
                return match[1]
            if not line:
                break
    raise RuntimeError("the server did not start: " + (folder / "server.log").read_text()[-2000:])


def family(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            members += [int(child) for child in children.read_text().split()]
    return members
