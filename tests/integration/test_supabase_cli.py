"""The migrations in the hands of the Supabase CLI: applied, applied again, and found fault with by its advisors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate
from tests.support.schema_lines import schema_lines
from tests.support.supabase_cli import ROOT, SupabaseCli

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.local.cluster import Cluster

# What the advisors say does not depend on the version.
on_newest = pytest.mark.parametrize("server", ["cluster"], ids=["postgres 18"], indirect=True)
MIGRATIONS = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))


@pytest.mark.parametrize("command", [("db", "push"), ("migration", "up")], ids=" ".join)
def test_cli_applies_the_migrations_as_copperplate_does_and_only_once(
    supabase_cli: SupabaseCli, server: Cluster, make_project: Callable[[], str], command: tuple[str, ...]
) -> None:
    name = make_project()
    url = server.tcp_url(database=name)
    first = supabase_cli.run(*command, url=url)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("Applying migration") == len(MIGRATIONS)
    applied = schema_lines(server.url(database=name))

    again = supabase_cli.run(*command, url=url)
    assert (again.returncode, again.stdout.strip()) == (0, "Remote database is up to date.")
    assert migrate(server.url(database=name), announce=ignore) == []
    assert schema_lines(server.url(database=name)) == applied

    other = make_project()
    migrate(server.url(database=other), announce=ignore)
    assert schema_lines(server.url(database=other)) == applied


@on_newest
@pytest.mark.parametrize("expose_new_tables", [True, False], ids=["all exposed by default", "nothing exposed"])
def test_advisors_find_nothing(
    supabase_cli: SupabaseCli, server: Cluster, make_project: Callable[..., str], expose_new_tables: bool
) -> None:
    name = make_project(expose_new_tables=expose_new_tables)
    migrate(server.url(database=name), announce=ignore)
    answer = supabase_cli.run("db", "advisors", "--fail-on=warn", "--level=warn", url=server.tcp_url(database=name))
    assert answer.returncode == 0, answer.stdout
    assert "No issues found" in answer.stderr


@on_newest
def test_advisors_would_find_a_table_without_row_level_security(
    supabase_cli: SupabaseCli, server: Cluster, make_project: Callable[[], str]
) -> None:
    name = make_project()
    with psycopg.connect(server.url(database=name)) as connection:
        connection.execute("create table public.diary (page text)")
    answer = supabase_cli.run("db", "advisors", "--fail-on=warn", "--level=warn", url=server.tcp_url(database=name))
    assert answer.returncode == 1
    assert "diary" in answer.stdout


@pytest.mark.parametrize("server", ["older_cluster"], ids=["postgres 15"], indirect=True)
def test_lint_finds_nothing_in_any_function(
    supabase_cli: SupabaseCli, server: Cluster, make_project: Callable[[], str]
) -> None:
    name = make_project()
    with psycopg.connect(server.url("supabase_admin", name)) as connection:
        if not connection.execute("select from pg_available_extensions where name = 'plpgsql_check'").rowcount:
            pytest.skip("plpgsql_check is not installed (Debian: apt-get install postgresql-15-plpgsql-check)")
        connection.execute("create extension plpgsql_check with schema extensions")
    migrate(server.url(database=name), announce=ignore)
    url = server.tcp_url(database=name)
    options = ("--schema=public,copperplate", "--level=warning", "--fail-on=warning")
    found = supabase_cli.run("db", "lint", *options, url=url)
    assert (found.returncode, found.stdout.strip()) == (0, ""), found.stdout

    with psycopg.connect(server.url(database=name)) as connection:
        connection.execute(
            "create function public.broken() returns void language plpgsql as"
            " $$ begin perform no_such_column from public.generation_status; end $$"
        )
    found = supabase_cli.run("db", "lint", *options, url=url)
    assert found.returncode == 1
    assert "no_such_column" in found.stdout
