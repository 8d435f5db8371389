"""Source pictures under crowds: noted, cleaned up and taken off a user at once, over many connections."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from tests.contract.ledger.source_pictures import KEY, source

if TYPE_CHECKING:
    from copperplate.adapters.ledger.postgres import PostgresLedger

PICTURES = [source(f"photo {each}") for each in range(60)]
USERS = [UUID(int=each + 1) for each in range(6)]


def age(editor: psycopg.Connection[dict[str, Any]]) -> None:
    editor.execute("update copperplate.source_pictures set last_used_at = last_used_at - interval '31 days'")


async def clean(ledger: PostgresLedger) -> None:
    reached: str | None = ""
    while reached is not None:
        reached = (await ledger.cleanup_entries("processed", 7, older_than=timedelta(days=30), after=reached)).reached


async def test_a_hundred_who_bring_one_picture_at_once_are_all_its_owners(
    ledger: PostgresLedger, patient_ledgers: None
) -> None:
    owners = [f"key:{each}" for each in range(100)]
    known = await asyncio.gather(*(ledger.note_source(PICTURES[0], owner=owner) for owner in owners))
    assert all(each.is_owned for each in known)
    again = await asyncio.gather(*(ledger.find_source(PICTURES[0].digest, owner=owner) for owner in owners))
    assert all(each is not None and each.is_owned for each in again)


async def test_cleanups_deletions_of_users_and_new_uploads_at_once_leave_what_was_just_brought(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], patient_ledgers: None
) -> None:
    await asyncio.gather(*(ledger.note_source(picture, owner=f"user:{user}") for picture in PICTURES for user in USERS))
    age(editor)
    brought, forgotten = PICTURES[::4], USERS[:4]
    await asyncio.gather(
        *(clean(ledger) for _ in range(3)),
        *(ledger.forget_user(user) for user in forgotten),
        *(ledger.note_source(picture, owner=KEY) for picture in brought),
    )
    await clean(ledger)
    for picture in PICTURES:
        known = await ledger.find_source(picture.digest, owner=KEY)
        assert (known is not None and known.is_owned) is (picture in brought)
    named = {row["owner"] for row in editor.execute("select distinct owner from copperplate.source_owners").fetchall()}
    assert named <= {KEY, *(f"user:{user}" for user in USERS[4:])}


CLEAN = "select public.cleanup_entries('processed', 100, '', '30 days')"


def count(connection: psycopg.Connection[Any], table: str) -> int:
    [(number,)] = connection.execute(f"select count(*) from copperplate.{table}".encode()).fetchall()
    return int(number)


async def test_a_cleanup_leaves_a_picture_that_is_brought_again_meanwhile(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], owner_url: str
) -> None:
    for picture in PICTURES[:2]:
        await ledger.note_source(picture, owner=KEY)
    age(editor)
    with psycopg.connect(owner_url) as bringing, psycopg.connect(owner_url, autocommit=True) as cleaning:
        bringing.execute("select public.note_source(%s, 'gif', 1, 1, 1, 'key:b')", [PICTURES[0].digest])
        cleaning.execute("set lock_timeout = '2s'")
        cleaning.execute(CLEAN)  # passes over what is locked
        assert count(cleaning, "source_pictures") == 1
        bringing.commit()
        cleaning.execute(CLEAN)
        assert (count(cleaning, "source_pictures"), count(cleaning, "source_owners")) == (1, 2)


async def test_a_cleanup_does_not_wait_for_a_user_who_is_being_forgotten(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], owner_url: str
) -> None:
    for picture in PICTURES[:2]:
        await ledger.note_source(picture, owner=f"user:{USERS[0]}")
    age(editor)
    with psycopg.connect(owner_url) as forgetting, psycopg.connect(owner_url, autocommit=True) as cleaning:
        forgetting.execute("select public.forget_user(%s)", [USERS[0]])
        cleaning.execute("set lock_timeout = '2s'")
        cleaning.execute(CLEAN)
        assert count(cleaning, "source_pictures") == 2
        forgetting.commit()
        cleaning.execute(CLEAN)
        assert count(cleaning, "source_pictures") == 0
