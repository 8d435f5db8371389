"""`sql/welcome_strangers.sql`: whoever signs in anonymously gets credits once, and nobody else does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

WELCOME = (Path(__file__).parents[2] / "sql" / "welcome_strangers.sql").read_text()
Connection = psycopg.Connection[Any]


@pytest.fixture
def auth(cluster: Cluster, database: str) -> Iterator[Connection]:
    """Supabase Auth's role, which has no rights of ours."""
    with psycopg.connect(cluster.url("supabase_admin", database), autocommit=True) as connection:
        connection.execute("set session authorization supabase_auth_admin")
        yield connection


@pytest.fixture
def owner(owner_url: str) -> Iterator[Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(WELCOME.encode())
        yield connection


def sign_up(auth: Connection, *, is_anonymous: bool) -> UUID:
    user = uuid4()
    auth.execute("insert into auth.users (id, is_anonymous) values (%s, %s)", [user, is_anonymous])
    return user


def balance(owner: Connection, user: UUID) -> int:
    row = owner.execute("select public.get_credits(%s) ->> 'balance'", [user]).fetchone()
    assert row is not None
    return int(row[0] or 0)


def test_a_stranger_has_credits_and_whoever_has_a_name_has_none(auth: Connection, owner: Connection) -> None:
    strangers = [sign_up(auth, is_anonymous=True) for _ in range(2)]
    named = sign_up(auth, is_anonymous=False)
    assert [balance(owner, user) for user in (*strangers, named)] == [3, 3, 0]
    assert owner.execute("select public.audit_credits() -> 'faults'").fetchone() == ([],)


def test_who_says_their_name_later_is_not_given_them_again(auth: Connection, owner: Connection) -> None:
    user = sign_up(auth, is_anonymous=True)
    auth.execute("update auth.users set is_anonymous = false, email = 'a@example.com' where id = %s", [user])
    assert balance(owner, user) == 3


def test_another_number_holds_for_those_who_come_after(auth: Connection, owner: Connection) -> None:
    before = sign_up(auth, is_anonymous=True)
    owner.execute(WELCOME.replace("new.id, 3,", "new.id, 1,").encode())
    after = sign_up(auth, is_anonymous=True)
    assert [balance(owner, user) for user in (before, after)] == [3, 1]


def test_a_stranger_who_is_deleted_is_named_nowhere(auth: Connection, owner: Connection) -> None:
    user = sign_up(auth, is_anonymous=True)
    auth.execute("delete from auth.users where id = %s", [user])
    for table in ("accounts", "credit_ledger"):
        rows = owner.execute(f"select count(*) from copperplate.{table} as t where t::text like %s", [f"%{user}%"])
        assert rows.fetchone() == (0,)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_nobody_can_welcome_themselves(owner: Connection, role: str) -> None:
    held = owner.execute(
        "select has_function_privilege(%s, 'copperplate.welcome_stranger()', 'execute')", [role]
    ).fetchone()
    assert held == (False,)
