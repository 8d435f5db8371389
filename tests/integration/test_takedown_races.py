"""`take_down` against every step of a generation, in every order: what is taken down is neither paid for nor kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.adapters.ledger.rows import upload_row
from copperplate.ledger_answers import Gone, Lead
from tests.contract.ledger.harness import LEASE, WEBP, acquire, complete, lead, peek
from tests.integration.test_missing_races import until_blocked
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.ledger.postgres import PostgresLedger

ASKED = picture_request()
KEY = ASKED.generation_key
TAKE_DOWN = "select public.take_down(%s)"


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Another process, at whichever point of its transaction the test has it."""
    async with await psycopg.AsyncConnection.connect(owner_url) as connection:
        yield connection


async def one(connection: psycopg.AsyncConnection, statement: str, *arguments: Any) -> Any:
    cursor = await connection.execute(statement.encode(), arguments)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def elect(connection: psycopg.AsyncConnection) -> int:
    """The fence of an election that is not committed yet."""
    statement = "select (public.acquire_generation(%s, %s, %s, %s, %s)).fence"
    fence = await one(connection, statement, Jsonb(ASKED.recipe), KEY, ASKED.rendition_key, uuid4(), LEASE)
    return int(fence)


async def check_nothing_is_left(ledger: PostgresLedger, other: psycopg.AsyncConnection, *, submits: int) -> None:
    """Gone for everybody; `submits` were paid for."""
    await other.rollback()
    assert await acquire(ledger, ASKED) == Gone()
    assert await peek(ledger, picture_request(picture_format=WEBP)) == Gone()
    assert await one(other, "select count(*) from public.generation_status") == 0
    assert await one(other, "select count(*) from copperplate.cache_entries") == 0
    assert await one(other, "select count(*) from copperplate.submits") == submits


async def test_a_takedown_waits_for_an_election_that_cannot_be_seen_yet(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    fence = await elect(other)
    taking = asyncio.create_task(ledger.take_down(KEY))
    await until_blocked(owner_url, 1, "take_down")
    await other.commit()
    assert (await taking).generations == 1
    assert not await ledger.heartbeat(KEY, fence, LEASE)
    assert not await ledger.begin_submit(KEY, fence, submit_no=1, provider="p")
    await check_nothing_is_left(ledger, other, submits=0)


async def test_an_election_that_waits_for_a_takedown_submits_nothing(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    await other.execute(TAKE_DOWN, (KEY,))
    electing = asyncio.create_task(acquire(ledger, ASKED))  # it looked, and saw no tombstone
    await until_blocked(owner_url, 1, "acquire_generation")
    await other.commit()
    held = await electing
    assert isinstance(held, Lead)
    assert not await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p")
    await check_nothing_is_left(ledger, other, submits=0)


async def test_a_submit_that_was_written_ahead_is_paid_and_what_it_makes_is_refused(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    held = await lead(ledger, ASKED)
    await other.execute("select public.begin_submit(%s, %s, 1, 'p')", (KEY, held.fence))
    taking = asyncio.create_task(ledger.take_down(KEY))
    await until_blocked(owner_url, 1, "take_down")
    await other.commit()
    assert (await taking).generations == 1
    assert not await ledger.intend_upload(KEY, held.fence, upload("late"), usage={})
    assert await ledger.complete(KEY, held.fence, upload("late"), url=None) is None
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_picture_completed_while_the_takedown_waits_goes_with_its_objects(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    held = await lead(ledger, ASKED)
    stored, made = rendition(ASKED, "wrong jpg"), upload("wrong")
    assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p")
    assert await ledger.intend_upload(KEY, held.fence, made, usage={}, rendition_paths=[stored.path])
    values = (KEY, held.fence, "f" * 64, Jsonb(upload_row(made)))
    await other.execute("select public.complete_generation(%s, %s, %s, %s, null)", values)
    taking = asyncio.create_task(ledger.take_down(KEY))
    await until_blocked(owner_url, 1, "take_down")
    await other.commit()
    taken = await taking
    assert (taken.generations, {path for _, path in taken.objects}) == (1, {made.path, stored.path})
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_completion_that_waits_for_the_takedown_is_refused(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    held = await lead(ledger, ASKED)
    assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p")
    assert await ledger.intend_upload(KEY, held.fence, upload("wrong"), usage={})
    await other.execute(TAKE_DOWN, (KEY,))
    completing = asyncio.create_task(ledger.complete(KEY, held.fence, upload("wrong"), url=None))
    await until_blocked(owner_url, 1, "complete_generation")
    await other.commit()
    assert await completing is None
    assert await one(other, "select count(*) from copperplate.discarded_objects where path = %s", upload("wrong").path)
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_rendition_that_waits_for_the_takedown_is_refused(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    webp = picture_request(picture_format=WEBP)
    original, stored = await complete(ledger, ASKED), rendition(webp, "wrong webp")
    assert await ledger.intend_rendition(original, stored)
    await other.execute(TAKE_DOWN, (KEY,))
    recording = asyncio.create_task(ledger.record_rendition(original, stored))
    await until_blocked(owner_url, 1, "record_rendition")
    await other.commit()
    assert await recording is None
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_cleanup_that_waits_for_nobody_leaves_what_is_being_pinned(
    ledger: PostgresLedger, other: psycopg.AsyncConnection
) -> None:
    await complete(ledger, ASKED)
    await other.execute(
        "update copperplate.cache_entries set created_at = created_at - interval '1 year',"
        " last_accessed_at = last_accessed_at - interval '1 year'"
    )
    await other.commit()
    await other.execute("select public.pin_picture(%s)", (KEY,))
    assert (await ledger.cleanup_entries("image", 100)).generations == 0
    await other.commit()
    assert (await ledger.cleanup_entries("image", 100)).generations == 0


async def test_of_many_takedowns_at_once_one_is_new(ledger: PostgresLedger) -> None:
    await complete(ledger, ASKED)
    taken = await asyncio.gather(*(ledger.take_down(key) for key in (KEY, ASKED.rendition_key) * 4))
    assert sum(each.is_new for each in taken if each.generation_key == KEY) == 1
    assert await acquire(ledger, ASKED) == Gone()
