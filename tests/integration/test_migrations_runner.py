"""The bootstrap, the splitter and the runner of migrations, on a real Postgres."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.bootstrap import bootstrap, create_database, drop_database, reset
from copperplate.local.cluster import Cluster, find_running
from copperplate.local.errors import (
    DatabaseUnreachable,
    MigrationEdited,
    MigrationFailed,
    MigrationMisnamed,
    MigrationsMissing,
    MigrationUnknown,
    RolesMissing,
)
from copperplate.local.migrations import find_migrations_folder, migrate, read_migrations
from copperplate.local.stack import open_database
from copperplate.local.statements import split_statements
from tests.support.clusters import delete_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = count(1)


def ignore(_text: str) -> None:
    pass


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cp-", dir="/tmp"))
    made.chmod(0o755)
    yield made / "data"
    delete_cluster(made / "data")
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def cluster(data_dir: Path) -> Iterator[Cluster]:
    with Cluster.start(data_dir, is_durable=False) as running:
        create_database(running.superuser_url, "bare")
        bootstrap(running.superuser_url, passwords=running.passwords)
        create_database(running.superuser_url, "bootstrapped", "postgres")
        yield running


@pytest.fixture
def owner_url(cluster: Cluster) -> Iterator[str]:
    """A bootstrapped database of its own for each test."""
    name = f"test_{next(NUMBERS)}"
    create_database(cluster.superuser_url, name, "bootstrapped")
    yield cluster.url(database=name)
    drop_database(cluster.superuser_url, name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "20260101000000_create_one.sql", "create table public.one (id int);\n")
    write(tmp_path, "20260102000000_create_two.sql", "-- Two.\ncreate table public.two (id int);\nselect 1;\n")
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


# The splitter


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        ("  ;; \n;select 1;\n\n", ["select 1"]),
        ("", []),
        ("select ';'; select 2", ["select ';'", "select 2"]),
        ("select 'it''s; fine'; select 2", ["select 'it''s; fine'", "select 2"]),
        (r"select E'\';'; select 2", [r"select E'\';'", "select 2"]),
        (r"select '\'; select 2", [r"select '\'", "select 2"]),
        ('select 1 as ";"; select 2', ['select 1 as ";"', "select 2"]),
        ("select $$a;b$$; select 2", ["select $$a;b$$", "select 2"]),
        ("select $x$a;$$;b$x$; select 2", ["select $x$a;$$;b$x$", "select 2"]),
        ("select a$b, $1; select c$b", ["select a$b, $1", "select c$b"]),
        ("-- no; end\nselect 1; -- last; words", ["-- no; end\nselect 1", "-- last; words"]),
        ("/* a /* b; */ c; */ select 1; select 2", ["/* a /* b; */ c; */ select 1", "select 2"]),
        ("-- don't\nselect 1; select 2", ["-- don't\nselect 1", "select 2"]),
        (
            "create rule r as on insert to t do also (select 1; select 2); select 3",
            ["create rule r as on insert to t do also (select 1; select 2)", "select 3"],
        ),
        (
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3",
            [
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end",
                "select 3",
            ],
        ),
        ("begin; select 1; end; select 2", ["begin", "select 1", "end", "select 2"]),
        ("select 'never closed; select 2", ["select 'never closed; select 2"]),
        ("select 'ä;é'; select '☃'", ["select 'ä;é'", "select '☃'"]),
    ],
)
def test_statements_end_at_semicolons_that_end_statements(script: str, expected: list[str]) -> None:
    assert [statement.text for statement in split_statements(script)] == expected


def test_statements_know_their_line() -> None:
    script = "select 1;\n\n-- Why.\nselect 2;\nselect\n3;"
    assert [statement.line for statement in split_statements(script)] == [1, 3, 5]


def test_own_migrations_split_into_what_postgres_takes_one_by_one(owner_url: str) -> None:
    assert migrate(owner_url, announce=ignore)


# The runner


def test_migrations_are_applied_in_order_and_once(owner_url: str, folder: Path) -> None:
    said: list[str] = []
    applied = migrate(owner_url, announce=said.append, folder=folder)
    assert [migration.version for migration in applied] == ["20260101000000", "20260102000000"]
    assert said == ["Applied 20260101000000_create_one.sql", "Applied 20260102000000_create_two.sql"]
    assert migrate(owner_url, announce=said.append, folder=folder) == []
    write(folder, "20260103000000_drop_one.sql", "drop table public.one;")
    assert [m.name for m in migrate(owner_url, announce=said.append, folder=folder)] == ["drop_one"]


def test_record_is_the_one_the_supabase_cli_keeps(owner_url: str, folder: Path) -> None:
    migrate(owner_url, announce=ignore, folder=folder)
    table = "supabase_migrations.schema_migrations"
    assert rows(owner_url, f"select version, name, statements from {table} order by version") == [
        ("20260101000000", "create_one", ["create table public.one (id int)"]),
        ("20260102000000", "create_two", ["-- Two.\ncreate table public.two (id int)", "select 1"]),
    ]
    columns = f"select attname, format_type(atttypid, null), attnotnull from pg_attribute where attrelid = '{table}'"
    assert rows(owner_url, f"{columns}::regclass and attnum > 0 order by attnum") == [
        ("version", "text", True),
        ("statements", "text[]", False),
        ("name", "text", False),
    ]


def test_objects_belong_to_the_owner_who_is_no_superuser(owner_url: str, folder: Path) -> None:
    migrate(owner_url, announce=ignore, folder=folder)
    assert rows(owner_url, "select tableowner from pg_tables where tablename = 'one'") == [("postgres",)]
    assert rows(owner_url, "select rolsuper from pg_roles where rolname = current_user") == [(False,)]


def test_failing_file_leaves_nothing_and_names_its_line(owner_url: str, folder: Path) -> None:
    write(folder, "20260103000000_break.sql", "create table public.three (id int);\n\nselect 1,\n  nonsense;\n")
    with pytest.raises(MigrationFailed, match=r"20260103000000_break\.sql, statement 2, line 4: .*nonsense") as caught:
        migrate(owner_url, announce=ignore, folder=folder)
    assert caught.value.code == "migration_failed"
    assert rows(owner_url, "select to_regclass('public.three')") == [(None,)]
    assert len(rows(owner_url, "select from supabase_migrations.schema_migrations")) == 2


def test_edited_migration_is_named(owner_url: str, folder: Path) -> None:
    migrate(owner_url, announce=ignore, folder=folder)
    write(folder, "20260101000000_create_one.sql", "create table public.one (id bigint);\n")
    with pytest.raises(MigrationEdited, match=r"20260101000000_create_one\.sql has changed.*--reset"):
        migrate(owner_url, announce=ignore, folder=folder)


def test_other_splitting_of_the_same_text_is_no_edit(owner_url: str, folder: Path) -> None:
    migrate(owner_url, announce=ignore, folder=folder)
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "update supabase_migrations.schema_migrations set statements = %s where version = '20260102000000'",
            [["-- Two.\ncreate table public.two (id int); select 1;"]],
        )
        connection.execute(
            "update supabase_migrations.schema_migrations set statements = null where version = '20260101000000'"
        )
    assert migrate(owner_url, announce=ignore, folder=folder) == []


def test_applied_migration_without_a_file_is_named(owner_url: str, folder: Path) -> None:
    migrate(owner_url, announce=ignore, folder=folder)
    (folder / "20260102000000_create_two.sql").unlink()
    with pytest.raises(MigrationUnknown, match=r"20260102000000.*--reset"):
        migrate(owner_url, announce=ignore, folder=folder)


def test_additional_columns_of_hosted_projects_do_no_harm(owner_url: str, folder: Path) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute("create schema supabase_migrations")
        connection.execute(
            "create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text"
            ", created_by text, idempotency_key text unique, rollback text[])"
        )
    assert len(migrate(owner_url, announce=ignore, folder=folder)) == 2


@pytest.mark.parametrize("name", ["create_three.sql", "20260101000000_again.sql"])
def test_misnamed_file_is_named(folder: Path, name: str) -> None:
    write(folder, name, "select 1;")
    with pytest.raises(MigrationMisnamed, match=name):
        read_migrations(folder)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MigrationsMissing, match="no-such-folder"):
        read_migrations(tmp_path / "no-such-folder")


def test_migrations_of_a_checkout_are_found() -> None:
    assert find_migrations_folder() == Path(__file__).parents[2] / "supabase" / "migrations"


def test_many_migrators_at_once_apply_each_file_once(owner_url: str, tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, f"2026010100000{number}_create_t{number}.sql", f"create table public.t{number} (id int);")
    barrier = threading.Barrier(4)

    def race(_number: int) -> int:
        barrier.wait()
        return len(migrate(owner_url, announce=ignore, folder=tmp_path))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(race, range(4))) == 10


def test_settings_of_one_file_do_not_reach_the_next(owner_url: str, tmp_path: Path) -> None:
    write(tmp_path, "1_set.sql", "set search_path = pg_catalog; set role service_role;")
    write(tmp_path, "2_create.sql", "create table unqualified (id int);")
    migrate(owner_url, announce=ignore, folder=tmp_path)
    found = rows(owner_url, "select schemaname, tableowner from pg_tables where tablename = 'unqualified'")
    assert found == [("public", "postgres")]


def test_postgrest_is_told_every_time(owner_url: str, folder: Path) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("listen pgrst")
        for _ in range(2):
            migrate(owner_url, announce=ignore, folder=folder)
            notified = [notify.payload for notify in connection.notifies(timeout=5, stop_after=1)]
            assert notified == ["reload schema"]


def test_database_without_supabase_roles_is_refused(folder: Path) -> None:
    made = Path(tempfile.mkdtemp(prefix="cp-", dir="/tmp"))
    made.chmod(0o755)
    try:
        with (
            Cluster.start(made / "data", is_durable=False) as plain,
            pytest.raises(RolesMissing, match=r"anon, authenticated, service_role.*DATABASE_URL"),
        ):
            migrate(plain.superuser_url, announce=ignore, folder=folder)
        delete_cluster(made / "data")
    finally:
        shutil.rmtree(made)


def test_unreachable_database_is_named(folder: Path) -> None:
    with pytest.raises(DatabaseUnreachable, match="DATABASE_URL"):
        migrate("postgresql://postgres@127.0.0.1:1/postgres", announce=ignore, folder=folder)


# The bootstrap


def test_bootstrap_is_done_once_and_again_when_asked_for_the_other_kind(cluster: Cluster) -> None:
    url = cluster.url("supabase_admin", "bare")
    assert bootstrap(url, passwords=cluster.passwords)
    assert not bootstrap(url, passwords=cluster.passwords)
    assert bootstrap(url, passwords=cluster.passwords, expose_new_tables=False)
    assert bootstrap(url, passwords=cluster.passwords)


def test_bootstrap_waits_for_who_changes_the_same_roles_from_another_database(cluster: Cluster) -> None:
    create_database(cluster.superuser_url, "parallel")
    url = cluster.url("supabase_admin", "parallel")
    waiting = "select 1 from pg_stat_activity where datname = 'parallel' and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(cluster.superuser_url) as other:
        other.execute("alter role authenticator connection limit 100")
        done = pool.submit(bootstrap, url, passwords=cluster.passwords)
        give_up_at = time.monotonic() + 60
        while not rows(cluster.superuser_url, waiting):
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        other.execute("alter role authenticator connection limit -1")
        other.commit()
        assert done.result(15) is True


@contextmanager
def as_role(url: str, role: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"set role {role}".encode())
        yield connection


@pytest.mark.parametrize("is_exposed", [True, False])
def test_both_kinds_of_project_can_be_had(cluster: Cluster, owner_url: str, is_exposed: bool) -> None:
    name = owner_url.split("@/")[1].split("?", maxsplit=1)[0]
    bootstrap(cluster.url("supabase_admin", name), passwords=cluster.passwords, expose_new_tables=is_exposed)
    with psycopg.connect(owner_url) as connection:
        connection.execute("create table public.things (id int)")
        connection.execute("create function public.nothing() returns int language sql return 1")
        connection.execute("revoke execute on function public.nothing() from public")
    for role in ("anon", "authenticated", "service_role"):
        may_read = f"has_table_privilege('{role}', 'things', 'select')"
        may_call = f"has_function_privilege('{role}', 'nothing()', 'execute')"
        assert rows(owner_url, f"select {may_read}, {may_call}") == [(is_exposed, is_exposed)]


def test_authenticator_becomes_the_api_roles_and_nothing_else(cluster: Cluster, owner_url: str) -> None:
    name = owner_url.split("@/")[1].split("?", maxsplit=1)[0]
    url = cluster.url("authenticator", name)
    for role in ("anon", "authenticated", "service_role"):
        with as_role(url, role) as connection:
            assert connection.execute("select current_user, auth.role()").fetchone() == (role, None)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(url, "postgres"):
        pass
    assert rows(url, "select current_setting('statement_timeout'), current_setting('lock_timeout')") == [("8s", "8s")]


def test_auth_functions_read_both_forms_of_claims(owner_url: str) -> None:
    user = "11111111-2222-3333-4444-555555555555"
    claims = f'{{"sub": "{user}", "role": "authenticated", "email": "a@example.com"}}'
    with as_role(owner_url, "anon") as connection:
        ask = "select auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'sub'"
        assert connection.execute(ask).fetchone() == (None, None, None, None)
        connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        assert connection.execute(ask).fetchone() == (user, "authenticated", "a@example.com", user)
        connection.execute("select set_config('request.jwt.claims', '', false)")
        connection.execute("select set_config('request.jwt.claim.sub', %s, false)", [user])
        assert connection.execute("select auth.uid()::text").fetchone() == (user,)


def test_role_attributes_are_those_of_hosted_supabase(owner_url: str) -> None:
    found = rows(
        owner_url,
        "select rolname, rolsuper, rolcanlogin, rolbypassrls, rolcreaterole, rolinherit from pg_roles"
        " where rolname in ('postgres', 'anon', 'authenticated', 'service_role', 'authenticator') order by rolname",
    )
    assert found == [
        ("anon", False, False, False, False, False),
        ("authenticated", False, False, False, False, False),
        ("authenticator", False, True, False, False, False),
        ("postgres", False, True, True, True, True),
        ("service_role", False, False, True, False, False),
    ]


# Everything together


def test_reset_throws_everything_away(cluster: Cluster, owner_url: str, folder: Path) -> None:
    migrate(owner_url, announce=ignore, folder=folder)
    name = owner_url.split("@/")[1].split("?", maxsplit=1)[0]
    with psycopg.connect(owner_url):  # Somebody is connected; that must not hinder it.
        reset(cluster.url("supabase_admin", name), passwords=cluster.passwords)
    assert rows(owner_url, "select to_regclass('public.one')") == [(None,)]
    assert len(migrate(owner_url, announce=ignore, folder=folder)) == 2


def test_open_database_uses_the_running_cluster(cluster: Cluster, data_dir: Path) -> None:
    with open_database(data_dir, ignore) as url:
        assert url == cluster.owner_url
        assert rows(url, "select count(*) > 0 from supabase_migrations.schema_migrations") == [(True,)]
    assert rows(cluster.owner_url, "select 1") == [(1,)]


def test_open_database_starts_its_own_and_stops_it() -> None:
    made = Path(tempfile.mkdtemp(prefix="cp-", dir="/tmp"))
    made.chmod(0o755)
    said: list[str] = []
    try:
        with open_database(made / "data", said.append) as url:
            assert rows(url, "select current_user::text") == [("postgres",)]
            assert find_running(made / "data") is not None
        assert find_running(made / "data") is None
        first, *rest = said
        assert "no database yet" in first
        assert rest
        assert all(text.startswith("Applied ") for text in rest), rest
        delete_cluster(made / "data")
    finally:
        shutil.rmtree(made)


def test_commands_that_open_it_at_once_share_one_cluster() -> None:
    made = Path(tempfile.mkdtemp(prefix="cp-", dir="/tmp"))
    made.chmod(0o755)
    all_inside = threading.Barrier(3)

    def use(_number: int) -> list[tuple[Any, ...]]:
        with open_database(made / "data", ignore) as url:
            answer = rows(url, "select 1")
            all_inside.wait(30)
        return answer

    try:
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(use, range(3))) == [[(1,)]] * 3
        delete_cluster(made / "data")
    finally:
        shutil.rmtree(made)
