"""Whether this version costs more processor time than an older one: cold start, hits, leads, misses."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.harness.figures import ROOT, Figure, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What is compared with. `BASELINE=REV` names another one.
BASELINE = "2bcb7a5"
AT_LEAST = 0.97
# Calls of one batch: each batch takes some tenths of a second.
BATCHES = {"hits": 400, "acquires": 300, "misses": 60}
WORKER = ROOT / "bench" / "harness" / "version_worker.py"
COLD = """
import asyncio
from bench.harness.version_worker import _answer_lines
import os
asyncio.run(_answer_lines(os.environ["DATABASE_URL"]))
"""
# Two-sided, 95 %, by degrees of freedom; more than 40 are as good as the normal distribution.
STUDENT = {19: 2.093, 23: 2.069, 29: 2.045, 39: 2.023}
HOW = (
    "Two checkouts, each with a database of its own, in turns on one machine; each batch is timed by the processor "
    "time of the process and of its database's backends. The ratio is the older version's time to this one's, so that "
    "less than 1 is slower. The value is the geometric mean of all rounds."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """One version that runs: where it lies, its environment, and how to talk to it."""

    root: Path
    environ: dict[str, str]
    process: subprocess.Popen[str]

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer to one line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def measure(run: Run) -> list[Figure]:
    """Processor time of an older version to this one's: cold start, hits, leads, misses."""
    baseline = os.environ.get("BASELINE", BASELINE)
    rounds = run.pick(24, 3)
    with (
        _worktree(baseline, run.folder / "older") as older,
        _running(older, run.folder / "a") as before,
        _running(ROOT, run.folder / "b") as after,
    ):
        return [
            figure
            for work in ("cold start", *BATCHES)
            for figure in _compare(run, work, before, after, baseline, rounds)
        ]


def _compare(run: Run, work: str, before: Checkout, after: Checkout, baseline: str, rounds: int) -> Iterator[Figure]:
    run.say(f"{work}: {rounds} rounds")
    ratios: list[float] = []
    _seconds(work, before), _seconds(work, after)  # what is loaded or planned once is not counted
    for number in range(rounds):
        # Who goes first changes: a machine gets hotter and its caches fuller.
        order = (before, after) if number % 2 else (after, before)
        seconds = {id(version): _seconds(work, version) for version in order}
        ratios.append(seconds[id(before)] / seconds[id(after)])
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    half = STUDENT.get(rounds - 1, 1.96) * statistics.stdev(logs) / math.sqrt(rounds)
    how = f"{HOW} Older version: {baseline}, {rounds} rounds."
    yield Figure(what=f"{work}, to {baseline}", value=math.exp(mean), unit="ratio", how=how, rounds=ratios)
    yield Figure(
        what=f"{work}, upper end of its 95 % interval",
        value=math.exp(mean + half),
        unit="ratio",
        how=how,
        at_least=AT_LEAST,
    )
    yield Figure(what=f"{work}, lower end of it", value=math.exp(mean - half), unit="ratio", how=how)


def _seconds(work: str, version: Checkout) -> float:
    if work == "cold start":
        return _cold_start(version)
    answer = version.ask(f"{work} {BATCHES[work]}")
    return float(answer["process"] + answer["database"])


def _cold_start(version: Checkout) -> float:
    """Processor seconds of a process that starts, shows one kept picture and ends."""
    used = _children()
    subprocess.run(
        [sys.executable, "-c", COLD],
        cwd=version.root,
        env=version.environ,
        input="stop\n",
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return _children() - used


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _worktree(revision: str, folder: Path) -> Iterator[Path]:
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", "--quiet", folder, revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", folder], check=True)


@contextlib.contextmanager
def _running(root: Path, folder: Path) -> Iterator[Checkout]:
    folder.mkdir()
    folder.chmod(0o755)
    harness = root / "bench" / "harness" / WORKER.name
    if not harness.exists():  # an older version gets this one's
        harness.parent.mkdir(exist_ok=True)
        harness.write_text(WORKER.read_text())
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-m", "bench.harness.version_worker", str(folder)]
    process = subprocess.Popen(command, cwd=root, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        cold = {
            **environ,
            "DATABASE_URL": started["url"],
            "COPPERPLATE_DATA_DIR": str(folder / "data"),
            "COPPERPLATE_PROVIDER": "painter",
        }
        yield Checkout(root=root, environ=cold, process=process)
        process.communicate("stop\n", timeout=60)
    finally:
        process.kill()
        process.wait()
