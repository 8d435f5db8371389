"""`copperplate purge --tier` beside running servers: the next answers come from storage, in every process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.dev_server import DevServer, dev_server, wait_until
from tests.support.clusters import open_folder
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "/1024x1024.jpg?text=a+red+fox"
BOUND_SECONDS = 3.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def tier_of(server: DevServer) -> str:
    """Which tier answered."""
    answer = server.get(URL)
    assert answer.status == 200
    return answer.headers["cache-status"].rpartition("detail=")[2].partition(";")[0]


def test_three_seconds_after_a_purge_of_memory_no_process_answers_from_it(folder: Path) -> None:
    with dev_server(folder / "dev", workers=2, COPPERPLATE_PROVIDER="painter") as server:
        assert server.get(URL).status == 200
        # Connections go to either process: both have it once many in a row come from memory.
        wait_until(
            lambda: all(tier_of(server) == "memory" for _ in range(12)), seconds=60, what="every process has a copy"
        )
        dry = server.run("purge", "--tier", "memory", "--all", "--dry-run")
        assert (dry.returncode, tier_of(server)) == (0, "memory")
        purged = server.run("purge", "--tier", "memory", "--all", "--yes")
        assert purged.returncode == 0, purged.stderr
        declared = time.monotonic()
        from_storage = 0
        # Each process reads it from storage, and answers its new copy from then on. One that the machine kept waiting
        # for seconds trusts no copy and reads once more.
        while from_storage < len(server.workers()):
            from_storage += tier_of(server) == "storage"
            assert time.monotonic() < declared + wall(BOUND_SECONDS)
        wait_until(
            lambda: all(tier_of(server) == "memory" for _ in range(12)), seconds=60, what="every process has a new copy"
        )
        # Nobody else has the database of `copperplate dev`.
        cdn = server.run("purge", "--tier", "cdn", "--all", "--yes")
        assert cdn.returncode == 1
        assert "No CDN was told, as none is set" in cdn.stderr
        unknown = server.run("purge", "--tier", "cdn", "--key", "0" * 64, "--yes")
        assert unknown.returncode == 1
        assert "No CDN was told, as none is set" in unknown.stderr
        assert "nothing is known of this key, and nothing was removed" in unknown.stderr
        nothing = server.run("purge", "--tier", "cdn", "--prompt", "nobody's", "--yes")
        assert nothing.returncode == 0
        assert "CDN" not in nothing.stderr
