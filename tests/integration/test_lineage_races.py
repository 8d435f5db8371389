"""`take_down` of a picture against what is made from it at that moment, in every order: none of it is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.adapters.ledger.rows import upload_row
from copperplate.ledger_answers import Gone, Hit
from copperplate.model import Condition
from tests.contract.ledger.harness import LEASE, acquire, complete, lead, peek
from tests.contract.ledger.lineage import LAST, LAST_SOURCE, MIDDLE, MIDDLE_SOURCE, ROOT
from tests.contract.ledger.source_pictures import ENLARGE, asked
from tests.integration.test_missing_races import until_blocked
from tests.integration.test_takedown_races import TAKE_DOWN, one
from tests.support.pictures import upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.ledger.postgres import PostgresLedger

KEY, CHILD = ROOT.generation_key, MIDDLE.generation_key
NOTE = "select public.note_source(%s, 'gif', 640, 480, 5000, 'key:a', %s, array[0, 8, 640, 480])"
NOTED = (MIDDLE_SOURCE.digest, KEY)


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Another process, at whichever point of its transaction the test has it."""
    async with await psycopg.AsyncConnection.connect(owner_url) as connection:
        yield connection


async def check_nothing_is_left(ledger: PostgresLedger, other: psycopg.AsyncConnection, *, submits: int) -> None:
    """Neither the picture nor anything made from it is there, served, or made; `submits` were paid for."""
    await other.rollback()
    for gone in (ROOT, MIDDLE):
        assert not isinstance(await peek(ledger, gone), Hit)
        assert await acquire(ledger, gone) == Gone()
    assert await one(other, "select count(*) from public.generation_status") == 0
    assert await one(other, "select count(*) from copperplate.cache_entries") == 0
    assert await one(other, "select count(*) from copperplate.submits") == submits


async def test_a_takedown_waits_for_the_election_of_a_child_that_cannot_be_seen_yet(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    await complete(ledger, ROOT)
    await ledger.note_source(MIDDLE_SOURCE, owner="key:a")
    statement = "select (public.acquire_generation(%s, %s, %s, %s, %s)).fence"
    fence = await one(other, statement, Jsonb(MIDDLE.recipe), CHILD, MIDDLE.rendition_key, uuid4(), LEASE)
    taking = asyncio.create_task(ledger.take_down(KEY))
    await until_blocked(owner_url, 1, "take_down")
    await other.commit()
    assert (await taking).descendants == 1
    assert not await ledger.begin_submit(CHILD, fence, submit_no=1, provider="p")
    await check_nothing_is_left(ledger, other, submits=1)


async def test_an_election_of_a_child_that_waits_for_a_takedown_is_refused(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    await ledger.note_source(MIDDLE_SOURCE, owner="key:a")
    await other.execute(TAKE_DOWN, (KEY,))
    electing = asyncio.create_task(acquire(ledger, MIDDLE))
    await until_blocked(owner_url, 1, "acquire_generation")
    await other.commit()
    assert await electing == Gone()
    await check_nothing_is_left(ledger, other, submits=0)


async def test_a_takedown_waits_for_a_parent_that_is_being_noted(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    """The leader of a child says where its bytes come from after it was elected."""
    held = await lead(ledger, MIDDLE)
    assert await ledger.begin_submit(CHILD, held.fence, submit_no=1, provider="p")
    await other.execute(NOTE.encode(), NOTED)
    taking = asyncio.create_task(ledger.take_down(KEY))
    await until_blocked(owner_url, 1, "take_down")
    await other.commit()
    assert (await taking).descendants == 1
    assert await ledger.complete(CHILD, held.fence, upload("late"), url=None) is None
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_parent_that_is_noted_behind_a_takedown_ends_what_is_being_made(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    held = await lead(ledger, MIDDLE)
    assert await ledger.begin_submit(CHILD, held.fence, submit_no=1, provider="p")
    await other.execute(TAKE_DOWN, (KEY,))
    noting = asyncio.create_task(ledger.note_source(MIDDLE_SOURCE, owner="key:a"))
    await until_blocked(owner_url, 1, "note_source")
    await other.commit()
    assert (await noting).is_taken_down
    assert await ledger.complete(CHILD, held.fence, upload("late"), url=None) is None
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_child_completed_while_the_takedown_waits_goes_with_its_object(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    await ledger.note_source(MIDDLE_SOURCE, owner="key:a")
    held, made = await lead(ledger, MIDDLE), upload("wrong")
    assert await ledger.begin_submit(CHILD, held.fence, submit_no=1, provider="p")
    assert await ledger.intend_upload(CHILD, held.fence, made, usage={})
    values = (CHILD, held.fence, "f" * 64, Jsonb(upload_row(made)))
    await other.execute("select public.complete_generation(%s, %s, %s, %s, null)", values)
    taking = asyncio.create_task(ledger.take_down(KEY))
    await until_blocked(owner_url, 1, "take_down")
    await other.commit()
    assert [path for _, path in (await taking).objects] == [made.path]
    await check_nothing_is_left(ledger, other, submits=1)


async def test_a_completion_of_a_child_that_waits_for_the_takedown_is_refused(
    ledger: PostgresLedger, other: psycopg.AsyncConnection, owner_url: str
) -> None:
    await ledger.note_source(MIDDLE_SOURCE, owner="key:a")
    held = await lead(ledger, MIDDLE)
    assert await ledger.begin_submit(CHILD, held.fence, submit_no=1, provider="p")
    assert await ledger.intend_upload(CHILD, held.fence, upload("wrong"), usage={})
    await other.execute(TAKE_DOWN, (KEY,))
    completing = asyncio.create_task(ledger.complete(CHILD, held.fence, upload("wrong"), url=None))
    await until_blocked(owner_url, 1, "complete_generation")
    await other.commit()
    assert await completing is None
    await check_nothing_is_left(ledger, other, submits=1)


async def test_takedowns_purges_and_elections_of_one_lineage_wait_for_each_other_in_one_order(
    ledger: PostgresLedger,
) -> None:
    for round_no in range(3):
        await complete(ledger, ROOT, f"root {round_no}")
        for noted, made in ((MIDDLE_SOURCE, MIDDLE), (LAST_SOURCE, LAST)):
            await ledger.note_source(noted, owner="key:a")
            await complete(ledger, made, f"{made.generation_key} {round_no}")
        await asyncio.gather(
            *(ledger.take_down(key) for key in (KEY, CHILD, LAST.generation_key)),
            *(
                ledger.purge(Condition(key=key), 10, is_dry_run=False, with_children=True)
                for key in (LAST.generation_key, CHILD, KEY)
            ),
            *(acquire(ledger, wanted) for wanted in (ROOT, MIDDLE, LAST, asked(MIDDLE_SOURCE, ENLARGE))),
            ledger.note_source(LAST_SOURCE, owner="key:a"),
        )
        for gone in (ROOT, MIDDLE, LAST):
            assert await acquire(ledger, gone) == Gone()
        for key in (KEY, CHILD, LAST.generation_key):
            await ledger.lift_takedown(key)
        await ledger.purge(Condition(model=ENLARGE.name), 10, is_dry_run=False)
