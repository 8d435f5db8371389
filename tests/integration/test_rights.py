"""Who may do what: anon reads two statistics and nothing else; only service_role works."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.bootstrap import drop_database
from copperplate.local.cluster import ignore
from copperplate.local.migrations import find_migrations_folder, migrate
from tests.support.postgres_fixtures import make_supabase_database
from tests.support.rights import ROLES, SCHEMAS, Cell, Rights, cells, describe_differences, read_database, read_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

PUBLIC_FUNCTIONS = {"public.get_generation_stats", "public.get_cache_stats"}
# Run with the rights of their owner; each says why where it is made.
OF_THEIR_OWNER = ("database_id", "is_lapsed", "note_user_deleted", "recorded_migrations")
# A view that joins is not to be written to by anybody, which Postgres finds out first.
REFUSALS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)


@pytest.fixture(scope="module", params=[True, False], ids=["all exposed by default", "nothing exposed by default"])
def world(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[str]:
    """A migrated database in each of the two default-privilege worlds: the superuser's URL."""
    name = f"world_{int(request.param)}"
    make_supabase_database(cluster, name, expose_new_tables=request.param)
    migrate(cluster.url(database=name), announce=ignore)
    yield cluster.url("supabase_admin", name)
    drop_database(cluster.superuser_url, name)


@pytest.fixture
def superuser(world: str) -> Iterator[psycopg.Connection[Any]]:
    """What the test changes is undone."""
    with psycopg.connect(world) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def matrix() -> Rights:
    return read_matrix()


def test_database_grants_what_the_matrix_says_and_no_more(
    superuser: psycopg.Connection[Any], matrix: Rights, record_property: Any
) -> None:
    database = read_database(superuser)
    assert describe_differences(database, matrix) == []
    record_property("cells", len(database.asked))
    assert len(database.asked) > 300


def test_matrix_lets_anon_call_the_two_statistics_and_write_nothing(matrix: Rights) -> None:
    for role in ("anon", "authenticated"):
        allowed = {cell for cell in matrix.allowed if cell.role == role}
        called = {cell.name for cell in allowed if cell.kind == "function" and cell.name.startswith("public.")}
        assert called == PUBLIC_FUNCTIONS
        assert {cell.verb for cell in allowed} <= {"usage", "select", "execute", "download"}


def test_matrix_lets_service_role_call_every_function_but_the_owners(matrix: Rights) -> None:
    functions = {cell for cell in matrix.asked if cell.kind == "function" and cell.role == "service_role"}
    refused = {cell.name for cell in functions - matrix.allowed}
    owners = {"make_buckets", "note_kind_added", "note_user_deleted", "raise_fences"}
    assert refused == {f"copperplate.{name}" for name in owners}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "grant select on public.image_cache to anon",
            "anon may select view public.image_cache in the database, not in the matrix",
        ),
        (
            "revoke execute on function public.record_usage(jsonb, uuid) from service_role",
            "service_role may execute function public.record_usage in the matrix, not in the database",
        ),
        ("create table public.extra ()", "the database has table public.extra, the matrix does not"),
        ("drop view public.image_cache", "the matrix has view public.image_cache, the database does not"),
        (
            "create policy open on copperplate.breakers for all using (true)",
            "the database has policy copperplate.breakers open, the matrix does not",
        ),
    ],
)
def test_differences_are_told_in_words(
    superuser: psycopg.Connection[Any], matrix: Rights, change: str, difference: str
) -> None:
    superuser.execute(change.encode())
    assert difference in describe_differences(read_database(superuser), matrix)


def test_bucket_opened_by_a_policy_is_noticed(superuser: psycopg.Connection[Any]) -> None:
    superuser.execute("insert into storage.buckets (id, name, public) values ('extra', 'extra', true)")
    superuser.execute("create policy open on storage.objects for insert to anon with check (bucket_id = 'extra')")
    extra = {cell for cell in read_database(superuser).allowed if (cell.kind, cell.name) == ("bucket", "extra")}
    service = {cell for cell in cells("bucket", "extra") if cell.role == "service_role"}
    assert {cell for cell in extra if cell.role == "service_role"} == service
    assert {cell.verb for cell in extra if cell.role == "anon"} == {"download", "insert"}
    assert {cell.verb for cell in extra if cell.role == "authenticated"} == {"download"}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_every_write_by_an_api_role_is_refused(superuser: psycopg.Connection[Any], role: str) -> None:
    tried = 0
    for kind, name in superuser.execute(
        "select c.relkind, c.oid::regclass::text from pg_class as c"
        " where c.relnamespace = any(%s::regnamespace[]) and c.relkind in ('r', 'v', 'S')",
        [SCHEMAS],
    ).fetchall():
        statements = {
            "r": (f"insert into {name} default values", f"delete from {name}", f"truncate {name} cascade"),
            "v": (f"delete from {name}",),
            "S": (f"select nextval('{name}')", f"select setval('{name}', 1)"),
        }[kind]
        for statement in statements:
            with superuser.transaction(force_rollback=True):
                superuser.execute(f"set local role {role}".encode())
                with pytest.raises(REFUSALS):
                    superuser.execute(statement.encode())
            tried += 1
    assert tried > 15


@pytest.mark.parametrize(
    "statement",
    [
        "select * from public.generation_status",
        "select * from public.image_cache",
        "select * from copperplate.cache_entries",
        "select public.cleanup_old_cache_entries()",
        "select public.purge_entries(p_model => 'x')",
        "select public.record_usage('[]', gen_random_uuid())",
        "select public.peek_generation('a', 'b')",
    ],
)
def test_anon_is_refused(superuser: psycopg.Connection[Any], statement: str) -> None:
    superuser.execute("set local role anon")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        superuser.execute(statement.encode())


@pytest.mark.parametrize("role", ROLES)
def test_statistics_can_be_called_by_everyone_and_answer_one_row(superuser: psycopg.Connection[Any], role: str) -> None:
    superuser.execute(f"set local role {role}".encode())
    assert superuser.execute("select * from public.get_generation_stats()").rowcount == 1
    assert superuser.execute("select * from public.get_cache_stats()").rowcount == 1


def test_a_new_function_is_open_to_everyone_until_it_is_revoked(superuser: psycopg.Connection[Any]) -> None:
    # create_schema.sql says so. Each function revokes where it is made, and the matrix tells of one that forgot.
    superuser.execute("set local role postgres")
    superuser.execute("create function copperplate.new() returns integer language sql as $$ select 1 $$")
    superuser.execute("reset role")
    assert Cell("function", "copperplate.new", "anon", "execute") in read_database(superuser).allowed
    superuser.execute("revoke all on function copperplate.new() from public, anon, authenticated")
    assert Cell("function", "copperplate.new", "anon", "execute") not in read_database(superuser).allowed


def test_no_column_has_rights_of_its_own(superuser: psycopg.Connection[Any]) -> None:
    found = superuser.execute(
        "select attrelid::regclass::text, attname from pg_attribute as a inner join pg_class as c on a.attrelid = c.oid"
        " where c.relnamespace = any(%s::regnamespace[]) and a.attacl is not null",
        [SCHEMAS],
    )
    assert found.fetchall() == []


def test_every_function_pins_its_search_path_and_runs_as_its_caller_or_says_why_not(
    superuser: psycopg.Connection[Any],
) -> None:
    loose = superuser.execute(
        "select p.proname from pg_proc as p where p.pronamespace = any(%s::regnamespace[])"
        " and (p.prosecdef and p.proname <> all(%s)"
        """ or not coalesce(p.proconfig @> array['search_path=""'], false))""",
        [SCHEMAS, list(OF_THEIR_OWNER)],
    )
    assert loose.fetchall() == []
    migrations = "".join(file.read_text() for file in find_migrations_folder().glob("*.sql"))
    for name in OF_THEIR_OWNER:
        assert re.search(
            rf"^-- .* owner.*(?:\n-- .*)*\ncreate function copperplate\.{name}\(", migrations, re.MULTILINE
        ), name


def test_every_table_has_row_level_security_and_everything_a_comment(superuser: psycopg.Connection[Any]) -> None:
    open_tables = superuser.execute(
        "select c.relname from pg_class as c where c.relnamespace = any(%s::regnamespace[])"
        " and c.relkind = 'r' and not c.relrowsecurity",
        [SCHEMAS],
    )
    assert open_tables.fetchall() == []
    silent = superuser.execute(
        """select c.relname from pg_class as c
        where c.relnamespace = any(%(schemas)s::regnamespace[]) and c.relkind in ('r', 'v', 'S')
        and obj_description(c.oid, 'pg_class') is null and c.relname not like '%%\\_id\\_seq'
        union all
        select p.proname from pg_proc as p
        where p.pronamespace = any(%(schemas)s::regnamespace[]) and obj_description(p.oid, 'pg_proc') is null""",
        {"schemas": SCHEMAS},
    )
    assert silent.fetchall() == []
