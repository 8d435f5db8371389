"""What a measurement is, and the file it is kept in."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results.json"
# What a result depends on; changes elsewhere do not make a commit's figures doubtful.
MEASURED = ("src", "supabase", "functions", "bench/__main__.py", "bench/harness", "bench/measurements", "uv.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value, how it came about, and what it should be."""

    what: str
    value: float
    unit: str
    how: str
    rounds: list[float] = field(default_factory=list)
    at_least: float | None = None
    at_most: float | None = None
    exactly: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a measurement gets: a folder of its own, how long to take, and whom to tell."""

    folder: Path
    is_quick: bool
    began: float

    def say(self, line: str) -> None:
        """Progress, with the time since the start."""
        say(self.began, line)

    def pick(self, full: int, quick: int) -> int:
        """How many rounds, seconds or requests."""
        return quick if self.is_quick else full


def say(began: float, line: str) -> None:
    """Progress goes beside the output."""
    print(f"[{time.monotonic() - began:6.1f} s] {line}", file=sys.stderr, flush=True)


def median_figure(rounds: list[float], **described: Any) -> Figure:
    """The median of some rounds, which are kept."""
    return Figure(value=statistics.median(rounds), rounds=rounds, **described)


def ratios(subject: list[float], baseline: list[float]) -> list[float]:
    """Round by round, so that what disturbed both disturbs the ratio less."""
    return [s / b for s, b in zip(subject, baseline, strict=True)]


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def source() -> tuple[str, bool]:
    """The commit, and whether what is measured differs from it."""
    return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--", *MEASURED))


def keep(name: str, figures: list[Figure], seconds: float, began_as: tuple[str, bool]) -> None:
    """Write the figures of one measurement into the results, in place of its last ones."""
    commit, was_modified = began_as
    results = load()
    results["machine"] = describe_machine()
    results.setdefault("measurements", {})[name] = {
        "commit": commit,
        # Also where the sources changed under a measurement: its parts may not belong together.
        "is_modified": was_modified or source() != began_as,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "figures": [_rounded(asdict(figure)) for figure in figures],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def load() -> dict[str, Any]:
    """The results so far."""
    if not RESULTS.exists():
        return {}
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return results


def describe_machine() -> dict[str, Any]:
    """The facts that the figures depend on."""
    from copperplate.local.binaries import find_binaries

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgres": find_binaries().version,
        **{name: version(name) for name in ("uvicorn", "httptools", "uvloop", "fastapi", "psycopg")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def _rounded(figure: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in figure.items() if value not in (None, [])}
    shown["value"] = float(f"{figure['value']:.4g}")
    if figure["rounds"]:
        shown["rounds"] = [float(f"{value:.4g}") for value in figure["rounds"]]
    return shown
