"""API keys in SQL: a look-up waits for nobody, writes hardly ever, and reads an index however many keys there are."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
import pytest

FIND = "select public.find_api_key(%s) ->> 'state'"


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def make(connection: psycopg.Connection[Any], prefix: str) -> None:
    connection.execute(
        "select public.create_api_key(%s, %s, '', 'standard', '{generate}')", [prefix, digest_of(prefix)]
    )


@pytest.fixture
def owner(owner_url: str) -> Any:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        make(connection, "abcdEFG1")
        yield connection


def used_at(connection: psycopg.Connection[Any]) -> Any:
    [row] = connection.execute("select last_used_at, xmin::text from copperplate.api_keys").fetchall()
    return row


def test_look_up_waits_for_no_other_and_notes_nothing_then(owner: psycopg.Connection[Any], owner_url: str) -> None:
    with psycopg.connect(owner_url) as other:
        other.execute("select from copperplate.api_keys for update")
        owner.execute("set lock_timeout = '1s'")
        assert owner.execute(FIND, [digest_of("abcdEFG1")]).fetchone() == ("active",)
        other.rollback()
    assert used_at(owner)[0] is None


def test_database_that_takes_no_writes_knows_its_keys(owner: psycopg.Connection[Any]) -> None:
    owner.execute("set default_transaction_read_only = on")
    assert owner.execute(FIND, [digest_of("abcdEFG1")]).fetchone() == ("active",)
    assert owner.execute(FIND, [digest_of("another")]).fetchone() == (None,)
    assert used_at(owner)[0] is None


def test_many_look_ups_write_one_row_version(owner: psycopg.Connection[Any]) -> None:
    owner.execute(FIND, [digest_of("abcdEFG1")])
    first = used_at(owner)
    for _ in range(50):
        owner.execute(FIND, [digest_of("abcdEFG1")])
    assert first[0] is not None
    assert used_at(owner) == first


def test_many_keys_are_found_by_two_indexes(owner: psycopg.Connection[Any]) -> None:
    owner.execute(
        "insert into copperplate.api_keys (prefix, digest, name, tier, scopes, is_visible, created_at)"
        " select lpad(n::text, 8, '0'), encode(sha256(n::text::bytea), 'hex'), '', 'standard', '{generate}', false,"
        " now() from generate_series(1, 20000) as n"
    )
    owner.execute("analyze copperplate.api_keys")
    plan = owner.execute(
        "explain select k.* from copperplate.api_keys as k where k.digest = %(d)s or k.previous_digest = %(d)s",
        {"d": digest_of("7")},
    ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Seq Scan" not in text
    assert "api_keys_digest_key" in text
    assert "api_keys_previous_digest_key" in text
