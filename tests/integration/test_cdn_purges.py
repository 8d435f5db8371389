"""CDN purges over a real Postgres: processes that are killed, crowds, and what is written by whom."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.recipes.objects import tag_of
from tests.e2e.test_cli import environment, run
from tests.support.commands import COPPERPLATE
from tests.support.vercel_api import TOKEN, VercelApi, vercel_api

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = [f"{number:064x}" for number in range(1, 41)]


@pytest.fixture
def api() -> Iterator[VercelApi]:
    with vercel_api() as standin:
        yield standin


@pytest.fixture
def variables(owner_url: str, api: VercelApi, tmp_path: Path) -> dict[str, str]:
    """Of a deployment behind Vercel's CDN."""
    return {
        "DATABASE_URL": owner_url,
        "COPPERPLATE_DATA_DIR": str(tmp_path),
        "COPPERPLATE_PROVIDER": "painter",
        "COPPERPLATE_VERCEL_TOKEN": TOKEN,
        "COPPERPLATE_VERCEL_API_URL": api.url,
        "VERCEL_PROJECT_ID": "prj_1",
    }


def declare_wrong(owner_url: str, *keys: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute("select copperplate.add_cdn_purges(%s, '[]')", [list(keys)])


def later(variables: dict[str, str], seconds: int) -> dict[str, str]:
    url = f"{variables['DATABASE_URL']}&options=-c%20copperplate.clock_offset%3D{seconds}s"
    return {**variables, "DATABASE_URL": url}


def waiting(owner_url: str) -> int:
    with psycopg.connect(owner_url) as connection:
        [count] = connection.execute("select count(*) from copperplate.cdn_purges").fetchone() or [0]
        return int(count)


def test_what_a_killed_process_was_telling_is_told_by_another(
    variables: dict[str, str], owner_url: str, api: VercelApi
) -> None:
    declare_wrong(owner_url, KEYS[0])
    api.seconds = 8.0
    with subprocess.Popen([COPPERPLATE, "work"], env=environment(**variables), stderr=subprocess.DEVNULL) as worker:
        while not api.purges:
            assert worker.poll() is None
            time.sleep(0.05)
        os.kill(worker.pid, signal.SIGKILL)
    api.seconds = 0.0
    assert run("work", "--once", **variables).returncode == 0
    assert len(api.purges) == 1, "the claim of the dead one still holds"
    # It was seen more than ten seconds before: told once more, it is over.
    assert run("work", "--once", **later(variables, 100)).returncode == 0
    assert api.tags == [[tag_of(KEYS[0])]] * 2
    assert waiting(owner_url) == 0


def test_more_than_a_run_takes_is_everything(variables: dict[str, str], owner_url: str, api: VercelApi) -> None:
    declare_wrong(owner_url, *KEYS)
    assert run("work", **variables).returncode == 0
    assert api.tags == [["copperplate"]] * 2
    assert waiting(owner_url) == 0


def test_who_takes_beside_another_takes_the_rest_and_does_not_wait(owner_url: str) -> None:
    declare_wrong(owner_url, KEYS[0])
    take = "select public.take_cdn_purges(array['tag'], gen_random_uuid(), 32, '60 s', '1 h') -> 'keys'"
    with (
        psycopg.connect(owner_url) as one,
        psycopg.connect(owner_url, options="-c lock_timeout=1s") as other,
    ):
        assert one.execute(take).fetchone() == (KEYS[:1],)
        declare_wrong(owner_url, KEYS[1])
        assert other.execute(take).fetchone() == (KEYS[1:2],)


def test_a_deletion_of_many_writes_one_row(owner_url: str) -> None:
    declare_wrong(owner_url, *[f"{number:064x}" for number in range(101)])
    assert waiting(owner_url) == 1


def test_a_truncation_is_everything(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute("truncate copperplate.cache_entries")
        rows = connection.execute("select scope, generation_key, bucket, path from copperplate.cdn_purges").fetchall()
    buckets = ["generated-images", "memoji-images", "processed-images"]
    assert sorted(rows, key=str) == sorted(
        [("tag", None, None, None), *[("object", None, bucket, None) for bucket in buckets]], key=str
    )


def test_a_declaration_that_is_rolled_back_is_told_to_nobody(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute("select copperplate.add_cdn_purges(%s, '[]')", [KEYS[:1]])
        assert waiting(owner_url) == 0
        connection.rollback()
    assert waiting(owner_url) == 0


def test_what_no_process_has_a_cdn_for_is_forgotten(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            """
            insert into copperplate.cdn_purges (scope, generation_key, bucket, path, declared_at, due_at, seen_at)
            values
            ('object', null, 'generated-images', 'never taken', now(), now(), null),
            ('tag', repeat('a', 64), null, null, now(), now(), null),
            ('tag', repeat('b', 64), null, null, now(), now(), now())
            """
        )
    for offset, left in (
        ("1 hour", 3),
        ("47 hours", 3),
        ("49 hours", 1),
        ("30 days", 1),
        ("32 days", 0),
    ):
        with psycopg.connect(owner_url) as own:
            own.execute("select set_config('copperplate.clock_offset', %s, false)", [offset])
            own.execute("select public.sweep_generations(20)")
        assert waiting(owner_url) == left, offset


MANY = """
insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
    updated_at, completed_at
)
select
    encode(sha256(n::text::bytea), 'hex'), 'image', '{}', 'a fox', '64x64', 'm', 'png', 'completed', now(), 1, now(),
    now(), now()
from generate_series(1, %(count)s) as n;
insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height, created_at,
    last_accessed_at
)
select
    g.prompt_hash, g.prompt_hash, 'image', true, 'generated-images', '2026/01/' || g.prompt_hash || '.png',
    g.prompt_hash, 1000, 'png', 64, 64, now(), now()
from public.generation_status as g;
"""


def make_many(connection: psycopg.Connection, count: int) -> None:
    connection.execute(MANY.replace("%(count)s", str(count)).encode())


@pytest.mark.parametrize(("count", "keys", "objects"), [(100, 100, 100), (300, 101, 1)])
def test_a_deletion_of_many_gathers_no_list_of_them(owner_url: str, count: int, keys: int, objects: int) -> None:
    with psycopg.connect(owner_url) as connection:
        make_many(connection, count)
        connection.execute("create temporary table told (keys integer, objects integer)")
        connection.execute(
            """
            create or replace function copperplate.add_cdn_purges(p_generation_keys text[], p_objects jsonb)
            returns void language sql as
            'insert into pg_temp.told values (cardinality(p_generation_keys), jsonb_array_length(p_objects))'
            """
        )
        connection.execute("delete from copperplate.cache_entries")
        assert connection.execute("select * from told").fetchall() == [(keys, objects)]
        connection.rollback()


@pytest.mark.parametrize(("count", "rows", "nulls"), [(10_000, 10_000, 0), (10_001, 1, 1)])
def test_of_very_many_deleted_entries_everything_is_invalid(owner_url: str, count: int, rows: int, nulls: int) -> None:
    with psycopg.connect(owner_url) as connection:
        make_many(connection, count)
        connection.execute("delete from copperplate.cache_entries")
        counted = connection.execute(
            "select count(*), count(*) filter (where generation_key is null) from copperplate.invalidations"
        )
        assert counted.fetchall() == [(rows, nulls)]
        connection.rollback()


def test_doctor_says_what_waits_for_long(variables: dict[str, str], owner_url: str) -> None:
    assert "none waits for long" in run("doctor", **variables).stdout
    declare_wrong(owner_url, *KEYS[:2])
    with psycopg.connect(owner_url) as connection:
        connection.execute("update copperplate.cdn_purges set declared_at = declared_at - interval '1 hour'")
    assert "2 CDN purges wait since" in run("doctor", **variables).stdout
    worked = run("work", "--once", **variables)
    assert "CDNs were told to forget 2 copies" in worked.stderr


def test_sql_cdn_purges_says_what_waits(owner_url: str) -> None:
    declare_wrong(owner_url, KEYS[0])
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "select public.take_cdn_purges(array['tag'], gen_random_uuid(), 32, '60 s', '1 h')",
        )
    declare_wrong(owner_url, KEYS[1])
    question = (Path(__file__).parents[2] / "sql" / "cdn_purges.sql").read_text()
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute(question.encode()).fetchall()
    assert {(row[2], row[3].partition(":")[0], row[4]) for row in rows} == {
        (KEYS[0], "somebody is telling it", 1),
        (KEYS[1], "nothing", 0),
    }
