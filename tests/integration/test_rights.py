"""Who may do what: anon reads two statistics and nothing else; only service_role works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.local.bootstrap import bootstrap, create_database, drop_database
from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

PUBLIC_FUNCTIONS = {"get_generation_stats", "get_cache_stats"}
SCHEMAS = ("public", "copperplate")


@pytest.fixture(scope="module", params=[True, False], ids=["classic", "nothing exposed by default"])
def world(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[str]:
    """A migrated database in each of the two default-privilege worlds."""
    name = f"world_{int(request.param)}"
    create_database(cluster.superuser_url, name, template="template0")
    url = cluster._running.url("supabase_admin", name)
    bootstrap(url, passwords=cluster.passwords, expose_new_tables=request.param)
    migrate(cluster.url(database=name), announce=ignore)
    yield cluster.url(database=name)
    drop_database(cluster.superuser_url, name)


def rows(url: str, query: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_api_roles_may_execute_the_two_statistics_and_the_clock_only(world: str, role: str) -> None:
    allowed = rows(
        world,
        f"""select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in {SCHEMAS} and has_function_privilege('{role}', p.oid, 'execute')""",
    )
    assert {name for (name,) in allowed} == PUBLIC_FUNCTIONS | {"clock"}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_api_roles_may_touch_no_table_but_read_the_public_totals(world: str, role: str) -> None:
    for privilege in ("select", "insert", "update", "delete", "truncate"):
        allowed = rows(
            world,
            f"""select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname in {SCHEMAS} and c.relkind in ('r', 'v')
                and has_table_privilege('{role}', c.oid, '{privilege}')""",
        )
        assert {name for (name,) in allowed} == ({"public_totals"} if privilege == "select" else set())


def test_service_role_may_execute_every_function(world: str) -> None:
    refused = rows(
        world,
        f"""select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in {SCHEMAS} and not has_function_privilege('service_role', p.oid, 'execute')""",
    )
    assert refused == []


def test_every_function_pins_its_search_path_and_runs_as_its_caller(world: str) -> None:
    loose = rows(
        world,
        f"""select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in {SCHEMAS}
            and (p.prosecdef or not coalesce(p.proconfig @> array['search_path=""'], false))""",
    )
    assert loose == []


def test_every_table_has_row_level_security_and_everything_a_comment(world: str) -> None:
    assert (
        rows(
            world,
            f"""select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in {SCHEMAS} and c.relkind = 'r' and not c.relrowsecurity""",
        )
        == []
    )
    assert (
        rows(
            world,
            f"""select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in {SCHEMAS} and c.relkind in ('r', 'v', 'S')
            and obj_description(c.oid, 'pg_class') is null and c.relname not like '%_id_seq'
            union all
            select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in {SCHEMAS} and obj_description(p.oid, 'pg_proc') is null""",
        )
        == []
    )


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_statistics_can_be_called_by_everyone_and_answer_one_row(world: str, role: str) -> None:
    with psycopg.connect(world) as connection:
        connection.execute(f"set local role {role}")
        assert connection.execute("select * from public.get_generation_stats()").rowcount == 1
        assert connection.execute("select * from public.get_cache_stats()").rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "select * from public.generation_status",
        "select * from public.image_cache",
        "delete from public.image_cache",
        "select * from copperplate.cache_entries",
        "select public.cleanup_old_cache_entries()",
        "select public.purge_entries(p_model => 'x')",
        "select public.record_usage('[]')",
        "select public.peek_generation('a', 'b')",
    ],
)
def test_anon_is_refused(world: str, statement: str) -> None:
    with psycopg.connect(world) as connection:
        connection.execute("set local role anon")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
