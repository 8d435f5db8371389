"""Runs the tests that wait, many times over, beside processes that keep every core busy.

    .venv/bin/python scripts/busy.py --list             which those are
    .venv/bin/python scripts/busy.py                    each of them 20 times
    .venv/bin/python scripts/busy.py 5 tests/e2e        those of a folder or a file, five times

A test waits if its file says so: it, or what it uses of its file, polls, sleeps or reads how much time went by.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TESTS = Path(__file__).parents[1] / "tests"
TIMES = 20
LOOP = "while True: pass"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# What waits for something to happen, or for time to pass, on the clock of the machine.
WAITING = {"wait_until", "eventually", "wall", "sleep", "timeout", "wait_for"}
# Tests of these rooms stand on a clock of their own.
TIMELESS = ("simulation",)


def names_in(node: ast.AST) -> set[str]:
    """What a function uses: names, attributes that are called, and fixtures it asks for."""
    used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    used |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    called = (each.func for each in ast.walk(node) if isinstance(each, ast.Call) and not _is_one_turn(each))
    return used | {each.attr for each in called if isinstance(each, ast.Attribute) and not _is_a_moment(each)}


def _is_one_turn(call: ast.Call) -> bool:
    """Whether it is `sleep(0)`: what is ready goes on, and no time passes."""
    return [ast.unparse(each) for each in call.args] == ["0"]


def _is_a_moment(called: ast.Attribute) -> bool:
    """Whether it is the sleep of a clock that stands still."""
    return isinstance(called.value, ast.Attribute) or ast.unparse(called.value).endswith("clock")


def waiting_tests(file: Path) -> Iterator[str]:
    """The names of the tests of a file that wait, methods as pytest writes them."""
    tree = ast.parse(file.read_text())
    counts = {node.name: names_in(node) for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
    waiting = {name for name, used in counts.items() if used & WAITING}
    while more := {name for name, used in counts.items() if used & waiting} - waiting:
        waiting |= more
    for node in tree.body:
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_") and node.name in waiting:
            yield node.name
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = (each.name for each in node.body if isinstance(each, FUNCTIONS))
            yield from (f"{node.name}::{name}" for name in methods if name.startswith("test_") and name in waiting)


def collect(places: Iterable[str]) -> list[str]:
    """The ids of the tests that wait in these folders and files."""
    found = []
    for place in map(Path, places):
        for file in sorted(place.rglob("test_*.py")) if place.is_dir() else [place]:
            if file.resolve().relative_to(TESTS).parts[0] not in TIMELESS:
                found += [f"{file}::{name}" for name in waiting_tests(file)]
    return found


def run(tests: list[str], times: int, loops: int) -> int:
    """The number of rounds that failed; says each round's outcome."""
    failed = 0
    with ExitStack() as beside:
        for _ in range(loops):
            beside.callback(beside.enter_context(subprocess.Popen([sys.executable, "-c", LOOP])).kill)
        for number in range(1, times + 1):
            done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], check=False)
            failed += done.returncode != 0
            print(f"busy: round {number} of {times}, {failed} failed so far", flush=True)
    return failed


def main() -> int:
    """Run it as the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", nargs="?", type=int, default=TIMES)
    parser.add_argument("places", nargs="*", default=[str(TESTS)])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--loops", type=int, default=os.cpu_count() or 1, help="busy processes beside the tests")
    options = parser.parse_args()
    tests = collect(options.places)
    if options.list:
        print("\n".join(tests))
        return 0
    return 1 if run(tests, options.times, options.loops) else 0


if __name__ == "__main__":
    sys.exit(main())
