"""Which test runs which line of the Python source, measured once and kept by the text of the lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

# Where scripts.planted_changes.function_calls writes.
CALLS_FILE: Final = "PLANTED_CALLS"
# Other tests work through processes of their own, which a coverage run does not see.
MEASURED: Final = ("tests/unit", "tests/contract", "tests/integration")
NOT_MEASURED: Final = (
    "tests/integration/test_cluster*",
    "tests/integration/test_supabase_*",
    "tests/integration/test_migrations_runner.py",
    "tests/integration/test_older_postgres.py",
    "tests/unit/test_docs.py",
    "tests/unit/test_planted_changes.py",
)


@dataclass(slots=True)
class CoverageMap:
    """The tests of each line, by file and anchor, those of each SQL function, and the seconds of each test function."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    functions: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> CoverageMap:
        """What `measure` kept, or an empty map."""
        return cls(**json.loads(path.read_text())) if path.is_file() else cls()

    def write(self, path: Path) -> None:
        """Keep it for later runs."""
        path.write_text(json.dumps(asdict(self)))

    def tests_of(self, file: str, lines: list[str], number: int) -> list[str]:
        """The test functions that run line `number`; for a line that only an import runs, those of the whole file."""
        of_file = self.lines.get(file, {})
        return of_file.get(anchor_of(lines, number)) or sorted({test for tests in of_file.values() for test in tests})

    def seconds_of(self, test: str) -> float:
        """How long a test function took, its parameters together."""
        return self.seconds.get(test.replace("/", ".").replace(".py::", ".").replace("::", "."), 1.0)


def anchor_of(lines: list[str], number: int) -> str:
    """A line's text with its occurrence among equal ones: it outlives what is inserted above it."""
    text = lines[number - 1]
    return f"{lines[:number].count(text)} {text}"


def measure(root: Path, cache: Path) -> CoverageMap:
    """Run the tests once under coverage, each in a context of its own."""
    cache.mkdir(parents=True, exist_ok=True)
    data, report, calls = cache / "coverage", cache / "junit.xml", cache / "calls.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *MEASURED]
    command += [f"--ignore-glob={root / name}" for name in NOT_MEASURED]
    command += ["--cov=src", "--cov-context=test", "--cov-report=", f"--junitxml={report}"]
    command += ["-p", "scripts.planted_changes.function_calls"]
    environment = {**os.environ, "COVERAGE_FILE": str(data), CALLS_FILE: str(calls), "PYTHONPATH": str(root)}
    ended = subprocess.run(command, cwd=root, env=environment, check=False)
    if ended.returncode > 1:
        raise SystemExit(f"pytest ended with {ended.returncode}: the map is left as it was")
    found = CoverageMap(seconds=_seconds(report), lines=_lines(root, data), functions=json.loads(calls.read_text()))
    found.write(cache / "map.json")
    return found


def _seconds(report: Path) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        found[f"{case.get('classname')}.{name}"] += float(case.get("time", 0))
    return dict(found)


def _lines(root: Path, data_file: Path) -> dict[str, dict[str, list[str]]]:
    # Imported here: only who measures needs it.
    from coverage import CoverageData

    data = CoverageData(basename=str(data_file))
    data.read()
    return {
        Path(file).relative_to(root).as_posix(): _of_file(file, data.contexts_by_lineno(file))
        for file in sorted(data.measured_files())
    }


def _of_file(file: str, contexts: dict[int, list[str]]) -> dict[str, list[str]]:
    lines = Path(file).read_text().split("\n")
    tests = {
        number: {context.partition("|")[0].partition("[")[0] for context in names if context}
        for number, names in contexts.items()
    }
    return {
        anchor_of(lines, number): sorted(found) for number, found in tests.items() if found and number <= len(lines)
    }
