"""`sql/setup.sql`: one paste in the SQL editor comes out as the migrations do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.local.cluster import ignore
from copperplate.local.migrations import find_migrations_folder, migrate, read_migrations
from tests.support.schema_lines import schema_lines
from tests.support.supabase_cli import ROOT, SupabaseCli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from copperplate.local.cluster import Cluster

SETUP = ROOT / "sql" / "setup.sql"


def paste(url: str) -> list[tuple[str, str]]:
    """Send all of it at once, as the SQL editor does, and answer the last result."""
    with psycopg.connect(url, autocommit=True) as editor:
        cursor = editor.execute(SETUP.read_bytes())
        while cursor.nextset():
            pass
        return cursor.fetchall()


def test_setup_is_generated_from_the_migrations_of_today(tmp_path: Path) -> None:
    shutil.copy(ROOT / "sql" / "generate.py", tmp_path)
    subprocess.run([sys.executable, tmp_path / "generate.py"], check=True)
    made = (tmp_path / "setup.sql").read_text()
    assert made == SETUP.read_text(), "sql/setup.sql is stale: run .venv/bin/python sql/generate.py"


def test_one_paste_is_what_the_migrations_are_and_a_second_changes_nothing(
    server: Cluster, make_project: Callable[[], str]
) -> None:
    name, other = make_project(), make_project()
    url = server.url(database=name)
    migrations = [(each.version, each.name) for each in read_migrations(find_migrations_folder())]
    assert paste(url) == migrations
    migrate(server.url(database=other), announce=ignore)
    pasted = schema_lines(url)
    assert pasted == schema_lines(server.url(database=other))

    assert paste(url) == migrations
    assert schema_lines(url) == pasted
    assert migrate(url, announce=ignore) == []


def test_paste_adds_what_a_database_lacks(server: Cluster, make_project: Callable[[], str], tmp_path: Path) -> None:
    name, other = make_project(), make_project()
    first, *_ = sorted(find_migrations_folder().glob("*.sql"))
    shutil.copy(first, tmp_path)
    migrate(server.url(database=name), announce=ignore, folder=tmp_path)
    paste(server.url(database=name))
    paste(server.url(database=other))
    assert schema_lines(server.url(database=name)) == schema_lines(server.url(database=other))


def test_failing_paste_leaves_nothing(server: Cluster, make_project: Callable[[], str]) -> None:
    url = server.url(database=make_project())
    with psycopg.connect(url, autocommit=True) as person:
        person.execute("create view public.image_cache as select 1 as mine")
    with pytest.raises(psycopg.errors.DuplicateTable):
        paste(url)
    with psycopg.connect(url, autocommit=True) as person:
        assert person.execute("select to_regclass('public.generation_status')").fetchone() == (None,)
        assert person.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone() == (None,)


def test_cli_finds_nothing_to_apply_after_a_paste(
    supabase_cli: SupabaseCli, server: Cluster, make_project: Callable[[], str]
) -> None:
    name = make_project()
    paste(server.url(database=name))
    answer = supabase_cli.run("db", "push", url=server.tcp_url(database=name))
    assert (answer.returncode, answer.stdout.strip()) == (0, "Remote database is up to date.")
