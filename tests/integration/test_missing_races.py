"""`report_missing` against itself, `acquire` and `complete`: one reopening, one regeneration, in every order.

And `report_refusal` against itself: of two reports, one begins the rest, in every order.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.adapters.ledger.rows import upload_row
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Lead, Wait
from copperplate.model import Condition, PictureFormat
from copperplate.recipes.objects import original_key
from tests.contract.ledger.forms import form, made
from tests.contract.ledger.harness import acquire, complete, record
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.model import Entry

KEY = picture_request().generation_key
LOCK_ROW = "select from public.generation_status where prompt_hash = %s for update"


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Another process, at whichever point of its transaction the test has it."""
    async with await psycopg.AsyncConnection.connect(owner_url) as connection:
        yield connection


async def until_blocked(url: str, calls: int, function: str = "report_missing") -> None:
    """Return once so many calls of `function` wait for the generation."""
    async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
        waiting = None
        while waiting != (calls,):
            await asyncio.sleep(0.01)
            cursor = await watch.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like %s",
                (f"%public.{function}(%",),
            )
            waiting = await cursor.fetchone()


async def report(connection: psycopg.AsyncConnection, entry: Entry) -> bool:
    cursor = await connection.execute("select public.report_missing(%s, %s)", (entry.key, entry.path))
    row = await cursor.fetchone()
    return row == (True,)


async def attempts(connection: psycopg.AsyncConnection) -> int:
    """How often the picture was begun; a reopening that is followed by an acquire begins it once more."""
    await connection.rollback()
    cursor = await connection.execute("select attempt from public.generation_status where prompt_hash = %s", (KEY,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_of_many_reports_at_once_one_reopens_and_one_caller_makes_the_picture_anew(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    original = await complete(ledger, picture_request())
    await other.execute(LOCK_ROW, (KEY,))
    reports = [asyncio.create_task(ledger.report_missing(original)) for _ in range(6)]
    await until_blocked(owner_url, 6)
    await other.commit()
    assert sorted(await asyncio.gather(*reports)) == [False] * 5 + [True]
    roles = await asyncio.gather(*(acquire(ledger, picture_request()) for _ in range(6)))
    assert sorted(type(role).__name__ for role in roles) == ["Lead"] + ["Wait"] * 5
    assert await attempts(other) == 2


async def test_report_that_waited_out_a_regeneration_leaves_the_new_picture_alone(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    original = await complete(ledger, picture_request())
    # While the late one waits, the other reopens it, makes it anew and completes it, all in one transaction.
    await other.execute(LOCK_ROW, (KEY,))
    late = asyncio.create_task(ledger.report_missing(original))
    await until_blocked(owner_url, 1)
    assert await report(other, original)
    await make_anew(other)
    await other.commit()
    assert not await late
    found = await acquire(ledger, picture_request())
    assert isinstance(found, Hit)
    assert found.entry.path == upload("anew").path
    assert await attempts(other) == 2


async def make_anew(connection: psycopg.AsyncConnection) -> None:
    cursor = await connection.execute(
        "update public.generation_status set status = 'generating', phase = 'submitting', attempt = attempt + 1,"
        " fence = nextval('copperplate.fences'), leader = gen_random_uuid(), error_class = null, error_message = null,"
        " retry_at = null, lease_until = copperplate.clock() + '20 s'::interval where prompt_hash = %s returning fence",
        (KEY,),
    )
    row = await cursor.fetchone()
    assert row is not None
    made = upload("anew")
    await connection.execute(
        "select public.complete_generation(%s, %s, %s, %s, null)",
        (KEY, row[0], "f" * 64, Jsonb(upload_row(made))),
    )


async def test_caller_that_saw_the_picture_before_the_report_does_not_reopen_it_again(
    ledger: PostgresLedger, other: psycopg.AsyncConnection
) -> None:
    original = await complete(ledger, picture_request())
    assert await report(other, original)
    # Not committed yet: somebody else still finds the picture, and will miss its object too.
    seen = await acquire(ledger, picture_request())
    assert seen == Hit(entry=original)
    await other.commit()
    held = await acquire(ledger, picture_request())
    assert isinstance(held, Lead)
    assert not await ledger.report_missing(original)
    # The new leader is not disturbed by it.
    assert isinstance(await acquire(ledger, picture_request()), Wait)
    assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
    assert await ledger.intend_upload(KEY, held.fence, upload("anew"), usage={})
    assert await ledger.complete(KEY, held.fence, upload("anew"), url=None) is not None
    assert not await ledger.report_missing(original)
    assert isinstance(await acquire(ledger, picture_request()), Hit)
    assert await attempts(other) == 2


async def test_rendition_recorded_while_its_original_is_reported_is_not_kept(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    original = await complete(ledger, picture_request())
    assert await report(other, original)
    recording = asyncio.create_task(record(ledger, original, picture_request(), "jpg"))
    await until_blocked(owner_url, 1, "record_rendition")
    await other.commit()
    assert await recording is None
    assert isinstance(await acquire(ledger, picture_request()), Lead)


async def test_report_of_a_rendition_that_went_with_its_original_changes_nothing(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    original = await complete(ledger, picture_request())
    rendition = await record(ledger, original, picture_request(), "jpg")
    assert rendition is not None
    await other.execute(LOCK_ROW, (KEY,))
    first = asyncio.create_task(ledger.report_missing(original))
    await until_blocked(owner_url, 1)
    second = asyncio.create_task(ledger.report_missing(rendition))
    await until_blocked(owner_url, 2)
    await other.commit()
    assert (await first, await second) == (True, False)
    assert isinstance(await acquire(ledger, picture_request()), Lead)
    assert await attempts(other) == 2


@pytest.mark.parametrize("row", ["none", "its rest is over"])
async def test_of_two_refusals_reported_at_once_one_begins_the_rest(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str, row: str
) -> None:
    if row != "none":
        await ledger.report_refusal("fal", FailureClass.ACCOUNT, "no money", timedelta(0))
    cursor = await other.execute("select public.report_refusal('fal', 'account', 'no money', '15 seconds')")
    assert await cursor.fetchone() == (True,)
    reporting = asyncio.create_task(
        ledger.report_refusal("fal", FailureClass.ACCOUNT, "no money", timedelta(seconds=15))
    )
    await until_blocked(owner_url, 1, "report_refusal")
    await other.commit()
    assert not await reporting


async def test_purge_names_the_form_that_is_recorded_while_it_waits(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    asked = form(PictureFormat.WEBP)
    await complete(ledger, asked)
    found = await ledger.peek(asked.generation_key, original_key(asked.generation_key))
    assert isinstance(found, Hit)
    ours = made(asked, "x")
    assert await ledger.intend_rendition(found.entry, ours)
    values = (asked.generation_key, found.entry.path, Jsonb(upload_row(ours)))
    await other.execute("select public.record_rendition(%s, %s, %s)", values)
    purging = asyncio.create_task(ledger.purge(Condition(key=asked.generation_key), 10, is_dry_run=False))
    await until_blocked(owner_url, 1, "purge_entries")
    await other.commit()
    assert ours.path in {path for _, path in (await purging).objects}
