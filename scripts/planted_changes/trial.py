"""Plant a change in a copy of the tree, run the tests that fit it, and take it out again."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from scripts.planted_changes.fitting import LEFT_OUT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scripts.planted_changes.change import Change

FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py\S*)", re.MULTILINE)
# The fixture that migrates says so when a changed migration does not apply.
NOT_APPLICABLE: Final = re.compile(
    r"psycopg\.errors\.(SyntaxError|Undefined|Invalid\w*Definition|Datatype|Ambiguous)\w*"
)
NOTHING_COLLECTED: Final = 5
INTERNAL_ERROR: Final = 3
# For databases and servers of the tests to be stopped.
GRACE_SECONDS: Final = 10.0
# Less than a test may take with a change in it: what is too slow as it is notices nothing.
SOUND_SECONDS: Final = 100.0
OPTIONS: Final = (
    *("-x", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", "--timeout=120"),
    *("-k", " and ".join(f"not {name}" for name in LEFT_OUT_NAMES)),
    *("-W", "ignore:Module already imported"),
)
OTHERS: Final = (
    *("aiohttp", "asgi_lifespan", "cryptography", "fal_client", "fastapi", "httpx", "httpx2", "httpx_aiohttp", "jwt"),
    *("openai.resources.images", "openai.types", "PIL.Image", "postgrest", "psycopg", "psycopg_pool", "pydantic"),
    *("starlette.applications", "storage3", "trustme", "uvicorn"),
)
# Of tests that were renamed since the map was measured.
NOT_FOUND: Final = re.compile(r"^ERROR: (?:not found|file or directory not found): (\S+)", re.MULTILINE)


class Result(StrEnum):
    """What became of a planted change."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The result of one change: the test that noticed it, and for how long tests ran."""

    result: Result
    by: str = ""
    seconds: float = 0.0
    tests: int = 0
    detail: str = ""


@contextmanager
def scratch_copy(root: Path) -> Iterator[Path]:
    """A copy of what git knows of `root` or would add; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        # Postgres runs as another user where root runs the tests, and has to get in.
        Path(folder).chmod(0o755)
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=root, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (root / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, Path(folder) / name)
        modules = Path("tests/node/node_modules")
        if (root / modules).is_dir():
            (Path(folder) / modules).symlink_to(root / modules)
        yield Path(folder)


class Plant:
    """Changes of one copy, one at a time."""

    def __init__(self, copy: Path, *, wall_seconds: float) -> None:
        self._copy = copy
        self._wall_seconds = wall_seconds
        self._edits = 0
        # Tests that pass without any change, and those that do not.
        self._sound: set[str] = set()
        self._unsound: list[str] = []

    def try_change(self, change: Change, batches: list[list[str]]) -> Trial:
        """The change's trial; the copy is as before afterwards. Raises AnchorLost."""
        while True:
            trial = self._plant(change, batches)
            test = trial.by.partition("[")[0]
            if not test or self._is_sound(test):
                return trial
            self._unsound.append(test)

    def _is_sound(self, test: str) -> bool:
        if test not in self._sound and run_pytest(self._copy, [test], wall_seconds=SOUND_SECONDS)[0] == 0:
            self._sound.add(test)
        return test in self._sound

    def _plant(self, change: Change, batches: list[list[str]]) -> Trial:
        file = self._copy / change.file
        source = file.read_text()
        changed = change.apply(source)
        if file.suffix == ".py" and not _compiles(changed):
            return Trial(result=Result.INVALID, detail="does not compile")
        self._write(file, changed)
        try:
            return self._run(batches)
        finally:
            self._write(file, source)

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text)
        # Compiled files are known by whole seconds and the size of their source: each edit has a second of its own.
        self._edits += 1
        os.utime(file, (time.time() + self._edits, time.time() + self._edits))

    def _run(self, batches: list[list[str]]) -> Trial:
        if not batches:
            return Trial(result=Result.SURVIVED, detail="no measured test runs it")
        began, tests = time.monotonic(), 0
        for batch in batches:
            left = self._wall_seconds - (time.monotonic() - began)
            if left <= 0:
                return Trial(result=Result.SURVIVED, seconds=self._wall_seconds, tests=tests, detail="wall reached")
            code, output = run_pytest(self._copy, batch, wall_seconds=left, without=self._unsound)
            if gone := {name.removeprefix(f"{self._copy}/") for name in NOT_FOUND.findall(output)}:
                remaining = [test for test in batch if test not in gone]
                code, output = run_pytest(self._copy, remaining, wall_seconds=left, without=self._unsound)
            seconds = round(time.monotonic() - began, 1)
            if code is None:
                return Trial(result=Result.SURVIVED, seconds=seconds, tests=tests, detail="wall reached")
            tests += sum(int(number) for number in re.findall(r"(\d+) (?:passed|failed)", output))
            if code not in (0, NOTHING_COLLECTED):
                return _failed(output, seconds, tests)
        return Trial(result=Result.SURVIVED, seconds=round(time.monotonic() - began, 1), tests=tests)


def _failed(output: str, seconds: float, tests: int) -> Trial:
    by = FAILED.search(output)
    reason = NOT_APPLICABLE.search(output)
    if reason and "migrate(" in output and "ERROR at setup" in output:
        return Trial(result=Result.INVALID, seconds=seconds, detail=reason[0])
    detail = "" if by else output[-500:]
    return Trial(result=Result.NOTICED, by=by[1] if by else "", seconds=seconds, tests=tests, detail=detail)


def run_pytest(
    copy: Path, tests: list[str], *, wall_seconds: float, without: Iterable[str] = ()
) -> tuple[int | None, str]:
    """Run pytest until its first failure; the exit status is None where it ran into the wall.

    In a fork of this process, which has imported what tests import beside our own modules: that takes seconds.
    """
    _import_others()
    output = copy / ".planted-output"
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _be_pytest(copy, [*tests, *(f"--deselect={test}" for test in without)], output)
    code = _wait(child, wall_seconds)
    return code, output.read_text(errors="replace")


@functools.cache
def _import_others() -> None:
    for name in OTHERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _be_pytest(copy: Path, arguments: list[str], output: Path) -> NoReturn:
    """What the child does: become pytest in the copy, with a session of its own to be killed with all it starts."""
    code = INTERNAL_ERROR
    try:
        os.setsid()
        # Whoever runs this in the background has it ignored, and pytest would not stop what it started.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")
        sys.path[:0] = [str(copy / "src"), str(copy)]
        listed = copy / ".planted-tests"
        listed.write_text("\n".join(arguments))
        code = int(pytest.main([*OPTIONS, f"--rootdir={copy}", f"@{listed}"]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _wait(child: int, wall_seconds: float) -> int | None:
    give_up_at = time.monotonic() + wall_seconds
    while time.monotonic() < give_up_at:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _compiles(source: str) -> bool:
    try:
        compile(source, "changed", "exec")
    except SyntaxError:
        return False
    return True
