"""Pictures in tiers while the database stands still, and a server that starts with a disk full of old copies."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from bench.harness.floods import serving
from tests.e2e.dev_server import Answer, ask, children_of, wait_until
from tests.support.postgres_fixtures import making_databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

# In place of an hour.
STALE_SECONDS = 12
PATHS = [f"/64x64.webp?text=warm%20{number}" for number in range(3)]


@pytest.fixture
def settings(standin: Standin, tmp_path: Path) -> dict[str, str]:
    return {
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        "COPPERPLATE_STALE_SECONDS": str(STALE_SECONDS),
        "COPPERPLATE_DISK_CACHE_DIR": str(tmp_path / "copies"),
    }


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    with making_databases(cluster) as make:
        yield cluster.url(database=make())


@contextlib.contextmanager
def standing_still(cluster: Cluster) -> Iterator[None]:
    """Postgres takes connections (its kernel does) and answers nothing."""
    with psycopg.connect(cluster.superuser_url) as connection:
        row = connection.execute("show data_directory").fetchone()
    assert row is not None
    postmaster = int((Path(row[0]) / "postmaster.pid").read_text().split()[0])
    pids = [postmaster, *children_of(postmaster)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def outcome_of(answer: Answer) -> str:
    """As a cache sees it: what is stale may be kept for a minute."""
    is_stale = answer.headers.get("cache-control") == "public, max-age=60"
    return "STALE" if is_stale else answer.headers.get("x-cache", "")


def warm(port: int) -> dict[str, str]:
    """Every picture is in memory; answers their ETags."""
    etags = {}
    for path in PATHS:
        etags[path] = ask(port, path).headers["etag"]
        wait_until(lambda path=path: outcome_of(ask(port, path)) == "HIT", seconds=60, what=f"a hit of {path}")  # type: ignore[misc]
    return etags


def test_warm_pictures_outlast_a_database_that_stands_still_and_what_was_purged_is_gone_afterwards(
    cluster: Cluster, database_url: str, settings: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path / "server", database_url, [""], **settings) as (_, [server]):
        etags = warm(server.port)
        with psycopg.connect(database_url) as editor:
            # It has its locks and its number; it commits once Postgres goes on.
            editor.execute("delete from public.generation_status where prompt = 'warm 0'")
            with standing_still(cluster):
                began = time.monotonic()
                wait_until(lambda: outcome_of(ask(server.port, PATHS[0])) == "STALE", seconds=60, what="a stale answer")
                for path in PATHS:
                    answer = ask(server.port, path)
                    if time.monotonic() - began < STALE_SECONDS - 2:
                        assert (answer.status, outcome_of(answer)) == (200, "STALE")
                        assert answer.headers["etag"] == etags[path]
                wait_until(
                    lambda: ask(server.port, PATHS[0]).status == 503, seconds=60, what="the end of stale answers"
                )
                assert time.monotonic() - began > STALE_SECONDS - 4
        committed_at = time.monotonic()
        wait_until(lambda: outcome_of(ask(server.port, PATHS[1])) == "HIT", seconds=60, what="hits again")
        assert ask(server.port, PATHS[1]).headers["etag"] == etags[PATHS[1]]
        time.sleep(max(0.0, committed_at + 3 - time.monotonic()))
        again = ask(server.port, PATHS[0])
        assert (again.status, again.headers["etag"] != etags[PATHS[0]]) == (200, True)


def test_server_that_starts_with_a_disk_full_of_old_copies_serves_none_that_is_wrong(
    database_url: str, settings: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path / "first", database_url, [""], **settings) as (_, [server]):
        etags = warm(server.port)
    copies = [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]
    assert len(copies) >= len(PATHS)
    with psycopg.connect(database_url) as editor:
        editor.execute("delete from public.generation_status where prompt = 'warm 0'")
    with serving(tmp_path / "second", database_url, [""], **settings) as (_, [server]):
        answers = {path: ask(server.port, path) for path in PATHS}
        assert answers[PATHS[0]].headers["etag"] != etags[PATHS[0]]
        # Its folder of objects is another one and empty: these can only come from the disk.
        assert [answers[path].headers["etag"] for path in PATHS[1:]] == [etags[path] for path in PATHS[1:]]
