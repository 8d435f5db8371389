"""What `copperplate doctor` says of a database that somebody changed by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate
from copperplate.schema_check import Schema
from scripts.expected_schema import FILE, generate
from tests.support.supabase_cli import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.local.cluster import Cluster
    from copperplate.schema_check import Difference

SETUP = ROOT / "sql" / "setup.sql"
# The statement, what is said, and whether that is a fault for certain.
CHANGES = {
    "drop function public.peek_generation(text, text)": "function public.peek_generation(text,text) is gone: run again "
    "what supabase/migrations/20261120000490_create_peek.sql says of it",
    "drop view public.image_cache": "view public.image_cache is gone",
    "drop table copperplate.audits": "table copperplate.audits is gone",
    "drop index copperplate.cache_entries_created_idx": "cache_entries_created_idx is gone",
    "drop trigger cache_entries_removed on copperplate.cache_entries": "cache_entries_removed is gone",
    "drop policy public_totals_are_public on copperplate.public_totals": "public_totals_are_public is gone",
    "alter table copperplate.cache_entries drop constraint cache_entries_object_key": "object_key is gone",
    "create or replace function copperplate.clock() returns timestamptz language sql "
    "set search_path = '' as $$ select now() $$": "function copperplate.clock() was changed: bring it "
    "back to what supabase/migrations/20261120000100_create_schema.sql says of it",
    "alter function public.check_setup() security definer": "public.check_setup() was changed",
    "alter function public.check_setup() reset search_path": "public.check_setup() was changed",
    "alter view public.image_cache rename column digest to sha256": "view public.image_cache was changed",
    "alter view public.image_cache set (security_invoker = false)": "view public.image_cache was changed",
    "alter table copperplate.cache_entries disable row level security": "table copperplate.cache_entries was changed",
    "alter table public.generation_status add column mood text": "table public.generation_status was changed",
    "alter table public.generation_status alter column format set default 'png'": "table public.generation_status was",
    "grant select (prompt) on public.generation_status to anon": "table public.generation_status was changed",
    "alter table copperplate.cache_entries disable trigger cache_entries_removed": "cache_entries_removed was changed",
    "alter policy public_totals_are_public on copperplate.public_totals using (false)": "are_public was changed",
    "grant select on public.generation_status to anon": "anon has select on table public.generation_status: revoke "
    "select on table public.generation_status from public, anon",
    "grant execute on function public.check_setup() to public": "authenticated has execute on function public.check_s",
    "grant select on public.image_cache to authenticated": "authenticated has select on view public.image_cache: ",
    "revoke execute on function public.record_usage(jsonb,uuid) from service_role": "service_role lacks execute on "
    "function public.record_usage(jsonb,uuid): grant execute on function public.record_usage(jsonb,uuid) to "
    "service_role",
    "revoke usage on sequence copperplate.fences from service_role": "grant usage on sequence copperplate.fences to",
    "revoke usage on schema copperplate from anon": "anon lacks usage on schema copperplate: grant usage on schema",
    "create policy open on copperplate.breakers for all using (true)": "policy copperplate.breakers open is not ours "
    "and may show rows to others: drop policy open on copperplate.breakers",
    "create function public.peek_generation(text) returns text language sql as $$ select $1 $$": "function "
    "public.peek_generation(text) is another form of ours, and calls cannot choose: drop function public.",
    "delete from supabase_migrations.schema_migrations where version = '20261120000850'": "are not recorded",
    "drop schema supabase_migrations cascade": "('20261120000100', 'create_schema')",
}
# What is somebody's own.
OTHERS = (
    "create table public.mine (generation text)",
    "create function public.mine() returns text language sql as $$ select 'mine' $$",
    "create index my_index on public.generation_status (prompt)",
    "comment on table public.generation_status is 'mine'",
    "insert into supabase_migrations.schema_migrations (version, name) values ('20300101000000', 'mine')",
)


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def differences(connection: psycopg.Connection[Any]) -> list[Difference]:
    """Asked as the server asks."""
    shipped = Schema.shipped()
    connection.execute("set role service_role")
    row = connection.execute("select public.describe_schema(%s)", [shipped.public_names]).fetchone()
    connection.execute("reset role")
    assert row is not None
    return shipped.compare(row[0])


def test_what_doctor_compares_with_is_of_the_migrations_of_today(owner_url: str) -> None:
    assert generate(owner_url) == FILE.read_text(), "src/copperplate/schema.json is stale: run `make types`"


@pytest.mark.parametrize("expose_new_tables", [True, False], ids=["all exposed", "nothing exposed"])
@pytest.mark.parametrize("way", ["migrate", "paste"])
def test_untouched_database_has_no_difference_however_it_was_set_up(
    server: Cluster, make_project: Callable[..., str], way: str, *, expose_new_tables: bool
) -> None:
    url = server.url(database=make_project(expose_new_tables=expose_new_tables))
    if way == "migrate":
        migrate(url, announce=ignore)
    with psycopg.connect(url, autocommit=True) as connection:
        if way == "paste":
            connection.execute(SETUP.read_bytes())
        assert differences(connection) == []


@pytest.mark.parametrize(("change", "said"), CHANGES.items(), ids=range(len(CHANGES)))
def test_change_by_hand_is_told_with_what_to_do(owner: psycopg.Connection[Any], change: str, said: str) -> None:
    owner.execute(change.encode())
    told = [each.detail for each in differences(owner)]
    assert any(said in each for each in told), told


def test_what_others_made_is_theirs(owner: psycopg.Connection[Any]) -> None:
    for statement in OTHERS:
        owner.execute(statement.encode())
    assert differences(owner) == []


def test_only_a_policy_of_others_may_be_meant(owner: psycopg.Connection[Any]) -> None:
    owner.execute("create policy open on copperplate.breakers for all using (true)")
    owner.execute("drop table copperplate.audits")
    by_weight = {each.is_serious: each.detail for each in differences(owner)}
    assert by_weight[False].startswith("policy copperplate.breakers open")
    assert "audits" in by_weight[True]


@pytest.mark.parametrize(
    "change", [change for change, said in CHANGES.items() if re.search(r": (revoke|grant|drop) ", said)]
)
def test_statement_that_is_advised_mends_it(owner: psycopg.Connection[Any], change: str) -> None:
    owner.execute(change.encode())
    for each in differences(owner):
        owner.execute(each.detail.partition(": ")[2].encode())
    assert differences(owner) == []


def test_rows_that_are_advised_are_the_record(owner: psycopg.Connection[Any], owner_url: str) -> None:
    owner.execute("delete from supabase_migrations.schema_migrations where version <> '20261120000100'")
    [missing] = differences(owner)
    rows = missing.detail.partition(" the rows ")[2]
    owner.execute(f"insert into supabase_migrations.schema_migrations (version, name) values {rows}".encode())
    assert differences(owner) == []
    assert migrate(owner_url, announce=ignore) == []
