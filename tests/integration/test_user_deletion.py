"""Deleting a user in Supabase Auth: nothing names them afterwards, every sum stays, and nobody else notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.budgets import Credits
from copperplate.ledger_answers import Lead
from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate
from tests.contract.ledger.credits import ANSWER, acquire_charged, balance_and_held, complete_charged, finish
from tests.contract.ledger.source_pictures import source
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from copperplate.local.cluster import Cluster

ALICE = UUID("6a1f9c5e-7b3d-4c11-8e55-1234567890ab")
BOB = UUID("0b0b0b0b-7b3d-4c11-8e55-1234567890ab")
DELETIONS = {
    "deleted": "delete from auth.users where id = %s",
    "marked": "update auth.users set deleted_at = now(), email = null where id = %s",
}
Connection = psycopg.Connection[Any]


@pytest.fixture
def auth(cluster: Cluster, database: str) -> Iterator[Connection]:
    """What Supabase Auth has: its own role, which owns its tables and has no rights of ours."""
    with psycopg.connect(cluster.url("supabase_admin", database), autocommit=True) as connection:
        connection.execute("set session authorization supabase_auth_admin")
        for user in (ALICE, BOB):
            connection.execute("insert into auth.users (id, email) values (%s, %s)", [user, f"{user}@example.com"])
        yield connection


@pytest.fixture
def owner(owner_url: str) -> Iterator[Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def ledger(owner_url: str) -> AsyncIterator[PostgresLedger]:
    """Alice and Bob have credits, a picture each that was delivered under a key, and one that was not."""
    made = PostgresLedger(owner_url)
    await made.open()
    for user, name in ((ALICE, "fox"), (BOB, "hen")):
        await made.grant_credits(user, 5, f"order of a {name}")
        for number in (1, 2):
            asked = picture_request(f"{name} {number}")
            await made.begin_request(user, asked.generation_key, f"key {number}")
            await complete_charged(made, asked, user, asked.generation_key)
        await made.deliver(user, picture_request(f"{name} 1").generation_key, ANSWER, "key 1")
        for picture in (f"of a {name}", "brought by both"):
            await made.note_source(source(picture), owner=f"user:{user}")
    yield made
    await made.close()


def find(connection: Connection, user: UUID, *schemas: str) -> list[str]:
    """Every column of every table in which the user's id is found, in any of its spellings."""
    columns = connection.execute(
        "select format('%%I.%%I', table_schema, table_name), quote_ident(column_name) from information_schema.columns"
        " inner join information_schema.tables using (table_schema, table_name)"
        " where table_type = 'BASE TABLE' and table_schema = any(%s)",
        [list(schemas)],
    ).fetchall()
    assert len(columns) > 80
    return [
        f"{table}.{column}"
        for table, column in columns
        if connection.execute(
            f"select from {table} where replace(lower({column}::text), '-', '') like %s".encode(), [f"%{user.hex}%"]
        ).rowcount
    ]


@pytest.mark.parametrize("how", DELETIONS)
async def test_nothing_of_ours_names_a_user_whom_auth_deleted(
    ledger: PostgresLedger, auth: Connection, owner: Connection, how: str
) -> None:
    before = await ledger.audit_credits()
    assert find(owner, ALICE, "public", "copperplate") == [
        "copperplate.accounts.user_id",
        "copperplate.source_owners.owner",
    ]
    auth.execute(DELETIONS[how].encode(), [ALICE])
    assert find(owner, ALICE, "public", "copperplate") == []
    after = await ledger.audit_credits()
    assert after == before
    assert after["faults"] == []
    assert await ledger.credits(ALICE) == Credits(balance=0, held=0)
    assert not await ledger.is_requested_by(ALICE, picture_request("fox 1").generation_key)
    # Said twice, and of somebody we never heard of.
    auth.execute(DELETIONS[how].encode(), [ALICE])
    auth.execute(DELETIONS[how].encode(), [UUID(int=3)])
    assert await ledger.audit_credits() == before


@pytest.mark.parametrize("how", DELETIONS)
async def test_somebody_elses_credits_and_asks_are_left_alone(
    ledger: PostgresLedger, auth: Connection, owner: Connection, how: str
) -> None:
    auth.execute(DELETIONS[how].encode(), [ALICE])
    assert await balance_and_held(ledger, BOB) == (3, 0)
    assert owner.execute("select count(*) from copperplate.user_requests").fetchone() == (2,)
    assert owner.execute("select owner from copperplate.source_owners").fetchall() == [(f"user:{BOB}",)] * 2
    answer = (await ledger.begin_request(BOB, picture_request("hen 1").generation_key, "key 1")).answer
    assert answer == {**ANSWER, "credits": 3}


async def test_no_other_change_of_a_user_forgets_them(ledger: PostgresLedger, auth: Connection) -> None:
    auth.execute("update auth.users set email = 'new@example.com', updated_at = now() where id = %s", [ALICE])
    auth.execute("update auth.users set deleted_at = null where id = %s", [ALICE])
    assert await balance_and_held(ledger, ALICE) == (3, 0)


async def test_deletion_and_what_we_forget_are_one_transaction(
    ledger: PostgresLedger, auth: Connection, owner: Connection
) -> None:
    owner.execute(
        "create or replace function public.forget_user(p_user uuid) returns boolean language plpgsql as"
        " $$ begin raise exception 'broken'; end $$"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="broken"):
        auth.execute(DELETIONS["deleted"].encode(), [ALICE])
    assert auth.execute("select from auth.users where id = %s", [ALICE]).rowcount == 1
    assert await balance_and_held(ledger, ALICE) == (3, 0)


async def test_picture_under_way_when_its_payer_is_deleted_is_settled_by_nobodys_account(
    ledger: PostgresLedger, auth: Connection, owner: Connection
) -> None:
    held = await acquire_charged(ledger, picture_request("cow"), ALICE)
    assert isinstance(held, Lead)
    auth.execute(DELETIONS["deleted"].encode(), [ALICE])
    await finish(ledger, picture_request("cow"), held, "cow")
    assert await ledger.deliver(ALICE, picture_request("cow").generation_key, ANSWER, "key 3") == {
        **ANSWER,
        "credits": 0,
    }
    assert (await ledger.audit_credits())["faults"] == []
    assert find(owner, ALICE, "public", "copperplate") == []


async def test_reference_of_a_grant_cannot_name_its_user(ledger: PostgresLedger, owner: Connection) -> None:
    for spelled in (str(ALICE), str(ALICE).upper(), ALICE.hex):
        with pytest.raises(psycopg.Error) as refused:
            owner.execute("select public.grant_credits(%s, 1, %s)", [ALICE, f"welcome {spelled}"])
        assert refused.value.sqlstate == "ZC009"


def test_role_of_auth_may_do_nothing_of_ours(auth: Connection) -> None:
    for statement in (
        "select * from copperplate.accounts",
        "select public.forget_user(gen_random_uuid())",
        "select copperplate.note_user_deleted()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auth.execute(statement.encode())


def test_postgres_without_auth_is_migrated_and_forgets_by_hand(
    server: Cluster, make_project: Callable[..., str]
) -> None:
    name = make_project()
    with psycopg.connect(server.url("supabase_admin", name)) as superuser:
        superuser.execute("drop schema auth cascade")
    assert migrate(server.url(database=name), announce=ignore)
    with psycopg.connect(server.url(database=name)) as owner:
        owner.execute("set local role service_role")
        owner.execute("select public.grant_credits(%s, 1, 'order 1')", [ALICE])
        assert owner.execute("select public.forget_user(%s)", [ALICE]).fetchone() == (True,)
        assert find(owner, ALICE, "public", "copperplate") == []
