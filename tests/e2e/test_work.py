"""What was promised is made although its process is killed and its caller never comes back."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from copperplate.adapters.supabase.users import make_local_token
from tests.e2e.dev_server import DevServer, dev_server, is_running, wait_until
from tests.support.clusters import open_folder
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Leases scaled down: what is promised within 60 s of leases of 20 s takes a few seconds here.
SCALED = {"COPPERPLATE_LEASE_SECONDS": "2", "COPPERPLATE_HEARTBEAT_SECONDS": "0.5"}
WITHIN_SECONDS = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def order(server: DevServer, hair: str) -> str:
    """Ask for a memoji without waiting for it; answers the key of its generation."""
    token = make_local_token(uuid4(), server.jwt_secret, seconds=3_600)
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/api/generate-memoji",
        json={"hair": hair},
        headers={"authorization": f"Bearer {token}", "prefer": "respond-async"},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["location"].rpartition("/")[2]


def row_of(server: DevServer, key: str) -> dict[str, Any]:
    """The generation, and its only wish."""
    with psycopg.connect(server.database_url, row_factory=dict_row) as connection:
        row = connection.execute(
            "select g.status, g.api_calls_made, w.status as wish, w.code from public.generation_status as g"
            " inner join copperplate.wishes as w on g.prompt_hash = w.generation_key where g.prompt_hash = %s",
            [key],
        ).fetchone()
    assert row is not None
    return row


def test_a_promise_outlives_the_processes_that_made_it_and_then_the_whole_server(folder: Path) -> None:
    # Long enough to be seen begun and killed.
    seconds = min(wall(1), 15)
    with dev_server(folder / "dev", workers=2, COPPERPLATE_PAINTER_SECONDS=f"{seconds:.1f}", **SCALED) as server:
        key = order(server, "locs")
        assert row_of(server, key) == {"status": "generating", "api_calls_made": 1, "wish": "open", "code": None}
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        wait_until(
            lambda: row_of(server, key)["wish"] == "completed", seconds=WITHIN_SECONDS, what="the promise is kept"
        )
        assert row_of(server, key) == {"status": "completed", "api_calls_made": 2, "wish": "completed", "code": None}

        order(server, "curly")
        family = server.descendants()
        for pid in (server.process.pid, *server.workers()):
            os.kill(pid, signal.SIGKILL)
        server.process.wait(30)
        wait_until(lambda: not any(map(is_running, family)), seconds=30, what="every process is gone")
        pending = json.loads(server.run("work", "--dry-run", "--json").stdout)["pending"]
        assert [each["prompt"] for each in pending] == ["memoji"]
        made: list[int] = []

        def works() -> bool:
            told = server.run("work", "--limit", "5", "--json")
            assert told.returncode == 0, told.stderr
            made.append(int(json.loads(told.stdout)["made"]))
            return made[-1] > 0

        wait_until(works, seconds=30, what="what the dead processes held is due")
        assert made[-1] == 1
        assert server.run("work", "--dry-run").stdout == ""
