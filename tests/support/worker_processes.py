"""Processes that a test starts, releases at once and reads from; they run `integration/worker_process.py`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "integration" / "worker_process.py"


@dataclass
class WorkerProcess:
    """One started process."""

    process: subprocess.Popen[str]

    def hear(self) -> str:
        """The next line it says; fails with what it complained of if it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            assert self.process.stderr is not None
            pytest.fail(f"the process ended ({self.process.wait(10)}): {self.process.stderr.read()[-2000:]}")
        return line

    def go_on(self, word: str = "go on") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.hear())
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def worker_processes() -> Iterator[WorkerProcesses]:
    with contextlib.ExitStack() as workers:
        yield WorkerProcesses(workers)


class WorkerProcesses:
    """Starts processes and ends them with the test."""

    def __init__(self, workers: contextlib.ExitStack) -> None:
        self._workers = workers

    def start(self, program: str, **order: Any) -> WorkerProcess:
        paths = [ROOT, ROOT / "src"]
        process = subprocess.Popen(
            [sys.executable, PROGRAMS, json.dumps({"program": program, **order})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        )
        self._workers.enter_context(process)
        self._workers.callback(process.kill)
        return WorkerProcess(process)

    def start_together(self, orders: Sequence[dict[str, Any]]) -> list[WorkerProcess]:
        """Start processes that say when they are ready, and let them all go at the same time."""
        workers = [self.start(**order) for order in orders]
        assert {worker.hear() for worker in workers} == {"ready"}
        for worker in workers:
            worker.go_on()
        return workers
