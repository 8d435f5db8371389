"""`copperplate dev` as a person runs it: real processes, real sockets, a real Postgres."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from copperplate.local.cluster import find_running
from tests.support import log_watch
from tests.support.commands import COPPERPLATE, run_command
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

START_SECONDS = 60.0
STOP_SECONDS = 30.0
# What a developer's shell may have set must not reach the server; without bytecode every start is slow.
UNSET = ("COPPERPLATE_", "FAL_", "OPENAI_", "DATABASE_URL", "SUPABASE_", "VERCEL", "PORT", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class DevServer:
    """One `copperplate dev`, and what can be asked of it."""

    def __init__(self, process: subprocess.Popen[str], log: Path, environment: dict[str, str]) -> None:
        self.process = process
        self.log = log
        self.environment = environment
        self.url = process.stdout.readline().strip() if process.stdout else ""
        self.port = urlsplit(self.url).port or 0

    def get(self, path: str, *, method: str = "GET", timeout: float = 60, **headers: str) -> Answer:
        """Ask over a connection of its own."""
        log_watch.note_url(path)
        return ask(self.port, path, method=method, timeout=timeout, **headers)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `copperplate` command beside the server, with the same data folder."""
        return run_command(*arguments, environment=self.environment)

    @cached_property
    def database_url(self) -> str:
        """Its owner's libpq URL; asked for once, since tests poll the database."""
        return self.run("database-url").stdout.splitlines()[-1]

    @cached_property
    def jwt_secret(self) -> str:
        """What `copperplate token` signs with."""
        running = find_running(Path(self.environment["COPPERPLATE_DATA_DIR"]))
        assert running is not None
        return running.passwords.jwt_secret

    def workers(self) -> set[int]:
        """The pids of the server processes."""
        return {pid for pid in children_of(self.process.pid) if "spawn_main" in command_of(pid)}

    def descendants(self) -> set[int]:
        """The pids of everything that runs under this server."""
        return set(_walk(self.process.pid))


def ask(port: int, path: str, *, method: str = "GET", timeout: float = 60, **headers: str) -> Answer:
    """Ask a server of this machine over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def children_of(parent: int) -> set[int]:
    """The pids of the direct children of a process, from /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The command's name stands in brackets and may hold spaces; the parent is the second field behind.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(stat.parent.name))
    return found


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def inherited(number: signal.Signals, action: signal.Handlers) -> Iterator[None]:
    """What children do about a signal from their first moment on; ignoring it is what nohup does."""
    previous = signal.signal(number, action)
    try:
        yield
    finally:
        signal.signal(number, previous)


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until the condition holds, or fail saying what did not happen; a busy machine has longer."""
    began_at = time.monotonic()
    while not condition():
        assert time.monotonic() - began_at < wall(seconds), f"not within {seconds} s: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def dev_server(data_dir: Path, *, workers: int = 2, **variables: str) -> Iterator[DevServer]:
    """Run `copperplate dev` on any free port until the block ends."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(UNSET)},
        "COPPERPLATE_DATA_DIR": str(data_dir),
        **variables,
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "dev.log"
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [COPPERPLATE, "dev", "--port", "0", "--workers", str(workers), "--verbose"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    server = DevServer(process, log, environment)
    try:
        assert server.url.startswith("http://127.0.0.1:"), log.read_text()
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        log_watch.read(log.read_text(errors="replace"))
        if process.stdout:
            process.stdout.close()


def _walk(parent: int) -> Iterator[int]:
    for child in children_of(parent):
        yield child
        yield from _walk(child)


def without_progress(output: str) -> str:
    """What a command said, without the lines of a slow start."""
    return re.sub(r"^still .*, after \d+ s\n", "", output, flags=re.MULTILINE)
