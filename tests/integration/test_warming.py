"""`copperplate warm` over a real Postgres and a stand-in that counts: killed, stopped and run again, nothing is paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.cli import main
from copperplate.operations import warming
from tests.e2e.dev_server import COPPERPLATE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

LISTED, EXISTING, AT_ONCE = 30, 12, 4
# Small ones are drawn and encoded quickly.
SIZE = "64x64"


@pytest.fixture
def database(cluster: Cluster, make_database: Callable[[], str]) -> str:
    return cluster.url(database=make_database())


@pytest.fixture
def warm(
    database: str, standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs the command in this process; its exit code, and what it printed for programs."""
    settings = {
        "DATABASE_URL": database,
        "COPPERPLATE_DATA_DIR": str(tmp_path / "data"),
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        "COPPERPLATE_LEASE_SECONDS": "2",
        "COPPERPLATE_HEARTBEAT_SECONDS": "0.5",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(warming, "LOOK_SECONDS", 0.05)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["warm", *arguments, "--dimensions", SIZE, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return write(tmp_path / "all.txt", LISTED)


@pytest.fixture
def started(listed: Path, warm: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command over the whole list, in a process of its own."""
    command = [COPPERPLATE, "warm", str(listed), "--limit", str(AT_ONCE), "--dimensions", SIZE]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        yield process
        process.kill()


def write(path: Path, number: int) -> Path:
    path.write_text("".join(f"picture {each}\n" for each in range(number)))
    return path


def posts_of(standin: Standin) -> int:
    return sum(standin.scenario_log.posts.values())


def query(database: str, statement: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def noted(database: str) -> int:
    """How many jobs of fal that are under way are known by their ids."""
    return int(query(database, "select count(*) from public.generation_status where phase = 'submitted'")[0][0])


def hold_some_back(standin: Standin, *, quick: int, seconds: int) -> None:
    """The first pictures come at once, and the others take a while."""
    standin.scenario_log.tell("*", f"slow={seconds}")
    for number in range(quick):
        standin.scenario_log.tell(f"picture {number}", "ok")


def test_a_run_that_is_killed_is_gone_on_with_and_no_picture_is_paid_twice(
    database: str,
    standin: Standin,
    listed: Path,
    warm: Callable[..., tuple[int, dict[str, Any]]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    assert warm(str(write(tmp_path / "some.txt", EXISTING)))[1]["made"] == EXISTING
    hold_some_back(standin, quick=EXISTING + 6, seconds=3)
    process: subprocess.Popen[bytes] = request.getfixturevalue("started")
    # Nothing is being submitted then: a submit whose answer dies with its process is paid twice.
    wait_until(lambda: noted(database) == AT_ONCE and posts_of(standin) == EXISTING + 6 + AT_ONCE, seconds=30, what="x")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    standin.scenario_log.told.clear()
    code, figures = warm(str(listed))
    assert (code, figures["failed"], figures["left"]) == (0, 0, 0)
    assert (figures["existing"], figures["made"]) == (EXISTING + 6, LISTED - EXISTING - 6)
    assert posts_of(standin) == LISTED
    assert set(standin.scenario_log.posts.values()) == {1}
    assert warm(str(listed))[1]["existing"] == LISTED
