"""Processes that a test starts, lets go at the same moment, and hears: the programs are in `integration/crowd.py`."""

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
class Member:
    """One process of the crowd."""

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
def crowd() -> Iterator[Crowd]:
    with contextlib.ExitStack() as members:
        yield Crowd(members)


class Crowd:
    """Starts processes and ends them with the test."""

    def __init__(self, members: contextlib.ExitStack) -> None:
        self._members = members

    def start(self, program: str, **order: Any) -> Member:
        paths = [ROOT, ROOT / "src"]
        process = subprocess.Popen(
            [sys.executable, PROGRAMS, json.dumps({"program": program, **order})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        )
        self._members.enter_context(process)
        self._members.callback(process.kill)
        return Member(process)

    def start_together(self, orders: Sequence[dict[str, Any]]) -> list[Member]:
        """Start processes that say when they are ready, and let them all go at the same time."""
        members = [self.start(**order) for order in orders]
        assert {member.hear() for member in members} == {"ready"}
        for member in members:
            member.go_on()
        return members
