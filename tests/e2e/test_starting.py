"""Slow starts, starts that fail, and Ctrl-C at any moment of one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.dev_server import START_SECONDS, UNSET, is_running, wait_until
from tests.e2e.moments import scripted
from tests.support.commands import COPPERPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator

# In the order of a first start, so that one folder serves them all; the worker's come last.
MOMENTS = (
    "supervisor:import:typing",
    "supervisor:import:copperplate.cli.commands",
    "supervisor:import:copperplate.local.cluster",
    "supervisor:subprocess.Popen:initdb",
    "supervisor:subprocess.Popen:postgres",
    "supervisor:open:create_acquire.sql",
    "supervisor:import:uvicorn",
    "worker:import:copperplate.http.server.workers",
    "worker:import:copperplate.http.app",
)
INTERRUPTED = (128 + signal.SIGINT, -signal.SIGINT)


@pytest.fixture(scope="module", autouse=True)
def _in_a_terminal() -> Iterator[None]:
    """Children inherit what is ignored, and whoever runs the suite in the background ignores SIGINT."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def start(folder: Path, variables: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(UNSET)}
    return subprocess.Popen(
        [COPPERPLATE, *arguments],
        env={**environment, "COPPERPLATE_DATA_DIR": str(folder), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # its own group, as a shell gives it
    )


def left_of(session: int, folder: Path) -> list[int]:
    """What still runs of a server, its Postgres included, which has a session of its own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_bytes()
            if int(stat[3]) == session or str(folder).encode() in command:
                found.append(int(process.name))
    return [pid for pid in found if is_running(pid)]


@pytest.fixture(scope="module")
def used(folder: Path) -> Path:
    made = folder / "interrupted"
    made.mkdir()
    return made


@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupt_at_any_moment_of_a_start_is_quiet_and_leaves_nothing(moment: str, used: Path, folder: Path) -> None:
    variables = scripted(folder / "script", moment, "interrupt")
    process = start(used, variables, "dev", "--port", "0", "--workers", "2")
    said, _ = process.communicate(timeout=START_SECONDS * 1.5)
    assert process.returncode in INTERRUPTED, said
    assert "Traceback" not in said
    assert "Interrupt" not in said
    assert "http://" not in said
    wait_until(lambda: not left_of(process.pid, used), seconds=20, what="every process is gone")
    for log in used.rglob("*.log"):
        assert "not properly shut down" not in log.read_text()


def test_interrupt_of_a_server_that_serves_is_quiet_too(used: Path) -> None:
    process = start(used, {}, "dev", "--port", "0", "--workers", "2")
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("http://"):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=START_SECONDS)
    assert (process.returncode, "Traceback" in said) == (128 + signal.SIGINT, False), said
    wait_until(lambda: not left_of(process.pid, used), seconds=20, what="every process is gone")


def test_server_whose_workers_cannot_start_ends_and_names_the_cause(folder: Path) -> None:
    broken = folder / "broken"
    broken.mkdir()
    # The supervisor never imports the application.
    (broken / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if any('spawn_main' in each for each in sys.orig_argv):\n"
        "    sys.modules['copperplate.http.app'] = None\n"
    )
    variables = {"PYTHONPATH": str(broken), "DATABASE_URL": "postgresql://127.0.0.1:9/nowhere"}
    process = start(folder / "serve", variables, "serve", "--port", "0", "--workers", "2")
    said, _ = process.communicate(timeout=START_SECONDS * 1.5)
    assert process.returncode == 3, said
    assert "while it was importing the application" in said
    assert "copperplate.http.app" in said
    assert said.splitlines()[-1].endswith("[server_failed]")
    assert "ended before they were ready (exit status 1" in said
    assert "memory" not in said


def test_worker_that_takes_long_to_begin_is_waited_for_and_said(folder: Path) -> None:
    script = folder / "slow"
    variables = scripted(script, "worker:import:copperplate.http.server.workers", "wait")
    slow = start(
        folder / "slow-serve", {**variables, "DATABASE_URL": "postgresql://127.0.0.1:9/x"}, "serve", "--port=0"
    )
    assert slow.stdout is not None
    try:
        said = [slow.stdout.readline()]
        # Beyond the five seconds after which such a process used to be killed.
        while "is not ready after 10 s: it is starting Python" not in said[-1]:
            said.append(slow.stdout.readline())
            assert said[-1], said
        (script / "gate").touch()
        while "serving on port" not in said[-1]:
            said.append(slow.stdout.readline())
            assert said[-1], said
    finally:
        slow.send_signal(signal.SIGTERM)
        rest, _ = slow.communicate(timeout=START_SECONDS)
    assert slow.returncode == 0
    assert "is gone" not in "".join(said) + rest
    assert "ended before" not in "".join(said) + rest
