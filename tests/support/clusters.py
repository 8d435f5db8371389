"""Clusters for tests, and processes that own one."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.cluster import Cluster
from copperplate.local.home import FOLDER_NAME, POINTER_NAME, Home, find_home
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can run as another user, or mount")
DEADLINE_SECONDS = 15.0
TEMPORARY = "/tmp"  # noqa: S108 - each test makes a folder of its own in it
MEMORY = "/dev/shm"  # noqa: S108
# A container has 64 MB there unless it asks for more; two workers and a few clusters each need less than this.
ROOM_BYTES = 4 << 30

OWNER = """
import json, sys
from pathlib import Path
from copperplate.local.cluster import Cluster
cluster = Cluster.start(Path(sys.argv[1]), announce=lambda text: print(text, file=sys.stderr))
print(json.dumps({"pid": cluster.pid, "url": cluster.superuser_url}), flush=True)
sys.stdin.readline()
cluster.stop()
"""


def delete_cluster(data_dir: Path) -> None:
    """Delete the database of `data_dir`, wherever it is, and nothing else; it must not run."""
    if data_dir.exists():
        home = find_home(data_dir) or Home(folder=data_dir / FOLDER_NAME)
        shutil.rmtree(home.folder, ignore_errors=True)
        (data_dir / POINTER_NAME).unlink(missing_ok=True)


@contextmanager
def open_folder(parent: str | Path = TEMPORARY) -> Iterator[Path]:
    """Short and open to all, so that Postgres' own user can come here too."""
    made = Path(tempfile.mkdtemp(prefix="cp-", dir=parent))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def find_quick_folder() -> str:
    """Where a cluster that nobody keeps lies best: in memory, if there is room for all that tests write."""
    with suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= ROOM_BYTES and os.access(MEMORY, os.W_OK):
            return MEMORY
    return TEMPORARY


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """An open folder that the tests of one file share."""
    with open_folder() as made:
        yield made


@pytest.fixture
def data_dir(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = folder / re.sub(r"\W+", "-", request.node.name)[:30]
    yield path
    for process in list_processes(path):
        os.kill(process, signal.SIGKILL)
    delete_cluster(path)


@pytest.fixture(scope="module")
def made_once(folder: Path) -> Iterator[Path]:
    path = folder / "made-once"
    Cluster.start(path).stop()
    yield path
    delete_cluster(path)


@pytest.fixture
def used_dir(made_once: Path) -> Iterator[Path]:
    """A data folder that was used before, by the tests before this one: initdb takes its time."""
    yield made_once
    for process in list_processes(made_once):
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_dir(folder: Path) -> Iterator[Path]:
    path = folder / "shared"
    yield path
    delete_cluster(path)


@pytest.fixture(scope="module")
def shared(shared_dir: Path) -> Iterator[Cluster]:
    with Cluster.start(shared_dir) as cluster:
        yield cluster


@contextmanager
def owning_process(
    data_dir: Path, *arguments: str, script: str = OWNER, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    ready: dict[str, Any] = json.loads(line)
    return ready


def eventually(condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    began_at = time.monotonic()
    while not (value := condition()):
        assert time.monotonic() - began_at < wall(seconds), "not within the deadline"
        time.sleep(0.01)
    return value


def list_processes(data_dir: Path) -> list[int]:
    """Return every process that names the data folder, or where its database went, but us."""
    pointer = data_dir / "postgres.location"
    places = [str(data_dir), *([pointer.read_text().strip()] if pointer.exists() else [])]
    listed = subprocess.run(["ps", "-ww", "-axo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    named = [line.split(None, 1) for line in listed.splitlines() if any(f"{place}/" in line for place in places)]
    return [int(pid) for pid, command in named if "postgres" in command and int(pid) != os.getpid()]


def query(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def remember(url: str) -> int:
    answer = random.getrandbits(32)
    query(url, f"drop table if exists remembered; create table remembered as select {answer}::bigint as answer")
    return answer


def recall(url: str) -> Any:
    return query(url, "select answer from remembered")


# A normal life
