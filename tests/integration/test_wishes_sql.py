"""Wishes where connections meet, where a key is revoked, and as people read them in the SQL editor."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from copperplate.budgets import Refused
from copperplate.denials import TooManyOpenWishes
from copperplate.model import Outcome
from copperplate.wishes import MAX_OPEN_WISHES, Canceled, Purpose, Settlement, State, WishStatus
from tests.contract.ledger.harness import LEASE, complete, lead, request_count
from tests.contract.ledger.wishing import HOLD, NO_HOLD, OWNER, PRICE, memoji, new_batch, new_wish
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from copperplate.adapters.ledger.postgres import PostgresLedger

    Ask = Callable[[str], list[dict[str, Any]]]

FOLDER = Path(__file__).parents[2] / "sql"
Connection = psycopg.AsyncConnection[dict[str, Any]]
TAKE = b"select public.take_wishes(1, '1 minute')"
DONE = Settlement(status=WishStatus.COMPLETED)


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[Connection]:
    """Another process, at whichever point of its transaction the test has it."""
    async with await psycopg.AsyncConnection.connect(owner_url, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def ask(editor: psycopg.Connection[dict[str, Any]]) -> Ask:
    """Runs a file of sql/ and answers its rows."""
    return lambda name: editor.execute((FOLDER / name).read_bytes()).fetchall()


async def until_blocked(url: str, query: str) -> None:
    """Return once a call waits for a lock."""
    async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
        waiting = None
        while waiting != (1,):
            await asyncio.sleep(0.01)
            cursor = await watch.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like %s",
                (f"%{query}%",),
            )
            waiting = await cursor.fetchone()


# --- races ------------------------------------------------------------------------------------


async def test_a_taker_waits_for_one_that_has_not_committed_and_counts_what_it_took(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.create_batch(new_batch("one", "two"))
    cursor = await other.execute(TAKE)
    assert len((await cursor.fetchall())[0]["take_wishes"]) == 1
    late = asyncio.create_task(ledger.take_wishes(in_flight=1, held_for=HOLD))
    await until_blocked(owner_url, "take_wishes")
    await other.commit()
    assert await late == []


async def test_a_batch_that_is_canceled_beside_a_taker_leaves_it_what_it_took(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    batch = await ledger.create_batch(new_batch("taken", "waiting"))
    assert batch is not None
    await other.execute(TAKE)
    cancel = asyncio.create_task(ledger.cancel_batch(batch))
    await until_blocked(owner_url, "cancel_batch")
    await other.commit()
    assert await cancel == Canceled(withdrawn=1, under_way=1, saved_micro_usd=PRICE)
    assert [each.state for each in await ledger.batch_members(batch)] == [State.PENDING, State.CANCELED]


async def test_a_taker_beside_a_cancel_passes_over_what_it_withdraws(ledger: PostgresLedger, other: Connection) -> None:
    batch = await ledger.create_batch(new_batch("withdrawn"))
    await ledger.make_wish(new_wish("another"), held_for=NO_HOLD)
    await other.execute("select public.cancel_batch(%s)", [batch])
    taken = await ledger.take_wishes(in_flight=9, held_for=HOLD)
    assert [wish.recipe["prompt"] for wish in taken] == ["another"]
    await other.commit()
    assert await ledger.take_wishes(in_flight=9, held_for=HOLD) == []


async def test_a_wish_beside_the_deletion_of_its_user_is_gone_or_refused(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    user = UUID(int=0xA11CE)
    await other.execute("select public.forget_user(%s)", [user])
    wish = asyncio.create_task(ledger.make_wish(new_wish(owner=f"user:{user}"), held_for=NO_HOLD))
    await until_blocked(owner_url, "make_wish")
    await other.commit()
    assert not await ledger.settle_wish(await wish, DONE)
    cursor = await other.execute("select to_jsonb(w)::text as row from copperplate.wishes as w")
    assert [str(user) in row["row"] for row in await cursor.fetchall()] == [False]


# --- money ------------------------------------------------------------------------------------


async def test_what_a_revoked_key_wished_for_is_refused_by_its_budget(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    await ledger.make_wish(new_wish(), held_for=NO_HOLD)
    key = OWNER.removeprefix("key:")
    editor.execute(
        "insert into copperplate.api_keys (id, name, prefix, digest, scopes, tier, is_visible, created_at)"
        " values (%s, 'k', 'AAAAAAAA', repeat('a', 64), '{generate}', 'standard', false, now())",
        [key],
    )
    [wish] = await ledger.take_wishes(in_flight=1, held_for=HOLD)
    # Between the take and the call of the provider.
    editor.execute("select public.revoke_api_key('AAAAAAAA')")
    answer = await ledger.acquire(picture_request(), leader=UUID(int=1), lease_duration=LEASE, spending=wish.spending)
    assert isinstance(answer, Refused)
    assert (answer.refusal.budget, answer.refusal.is_closed) == (OWNER, True)


# --- hints ------------------------------------------------------------------------------------


async def test_new_work_and_the_end_of_a_wish_are_announced(ledger: PostgresLedger, owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as listener:
        await listener.execute("listen copperplate")
        batch = await ledger.create_batch(new_batch("one"))
        single = await ledger.make_wish(new_wish("two"), held_for=NO_HOLD)
        # Of one that its maker begins at once nobody has to hear.
        await ledger.make_wish(new_wish("three"), held_for=HOLD)
        await ledger.create_batch(new_batch("four"), held_for=HOLD)
        [_, member] = await ledger.take_wishes(in_flight=9, held_for=HOLD)
        for wish in (member.id, single):
            await ledger.settle_wish(wish, DONE)
        said = [each.payload async for each in listener.notifies(timeout=60, stop_after=4)]
    assert said == ["work", "work", str(batch), picture_request("two").generation_key]


# --- how many ---------------------------------------------------------------------------------


async def test_a_caller_has_so_many_open_wishes_and_no_more(ledger: PostgresLedger, owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute(
            "insert into copperplate.wishes (owner, generation_key, kind, recipe, priority, created_at)"
            " select %s, encode(sha256(n::text::bytea), 'hex'), 'image', '{}', 3, now()"
            " from generate_series(1, %s) as n",
            [OWNER, MAX_OPEN_WISHES - 1],
        )
    with pytest.raises(TooManyOpenWishes):
        await ledger.create_batch(new_batch("one", "two"))
    await complete(ledger, picture_request("stored"))
    batch = await ledger.create_batch(new_batch("one", "stored", idempotency_key="k", digest="d"))
    with pytest.raises(TooManyOpenWishes):
        await ledger.make_wish(new_wish("another"), held_for=NO_HOLD)
    # What it has already is no new one.
    assert await ledger.create_batch(new_batch("one", "stored", idempotency_key="k", digest="d")) == batch
    assert await ledger.create_batch(new_batch("another", owner="key:other")) is not None


# --- in the SQL editor ------------------------------------------------------------------------


async def test_pending_work(ledger: PostgresLedger, ask: Ask) -> None:
    await ledger.create_batch(new_batch("waiting"))
    for prompt in ("resting", "led"):
        await ledger.make_wish(new_wish(prompt), held_for=NO_HOLD)
    await lead(ledger, picture_request("led"))
    [resting] = await ledger.take_wishes(in_flight=1, held_for=HOLD)
    await ledger.settle_wish(resting.id, Settlement(status=WishStatus.OPEN, retry_after=timedelta(hours=1)))
    await ledger.make_wish(new_wish(memoji()), held_for=HOLD)
    assert {(row["prompt"], row["kind"], row["tries"], row["state"]) for row in ask("pending_work.sql")} == {
        ("led", "image", 0, "it is being made"),
        (None, "memoji", 0, "somebody has taken it"),
        ("resting", "image", 1, "it rests after a failure"),
        ("waiting", "image", 0, "nothing: a work step is going to take it"),
    }


async def test_batches(ledger: PostgresLedger, ask: Ask) -> None:
    await complete(ledger, picture_request("stored"))
    batch = await ledger.create_batch(new_batch("stored", "made", "refused", "waiting"))
    await complete(ledger, picture_request("made"), "made")
    _, refused = await ledger.take_wishes(in_flight=2, held_for=HOLD)
    await ledger.settle_wish(refused.id, Settlement(status=WishStatus.FAILED, code="generation_failed"))
    [row] = ask("batches.sql")
    assert (row["id"], row["owner"], row["members"]) == (batch, OWNER, 4)
    assert (row["stored_before"], row["made"], row["to_be_made"], row["failed"], row["canceled"]) == (1, 1, 1, 1, 0)
    assert float(row["estimated_usd"]) == 3 * PRICE / 1_000_000


async def test_warmed_pictures(ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: Ask) -> None:
    await complete(ledger, picture_request("stored"))
    await ledger.create_batch(new_batch("stored", "asked for", "not", "waiting", purpose=Purpose.WARM))
    for wish in await ledger.take_wishes(in_flight=2, held_for=HOLD):
        await complete(ledger, picture_request(str(wish.recipe["prompt"])), str(wish.recipe["prompt"]))
        await ledger.settle_wish(wish.id, DONE)
    await ledger.record_usage(
        [request_count(picture_request(name), Outcome.HIT, 3) for name in ("asked for", "stored")]
    )
    [row] = ask("warmed_pictures.sql")
    assert (row["kind"], row["warmed"], row["asked_for"], row["requests_since"]) == ("image", 2, 1, 3)
    assert (float(row["asked_for_percent"]), float(row["estimated_usd"])) == (50.0, 0.006)
    assert float(row["estimated_usd_unused"]) == 0.003
    rows = editor.execute("select prompt, requests_since from public.warmed_pictures order by 1").fetchall()
    assert [tuple(each.values()) for each in rows] == [("asked for", 3), ("not", 0)]


def test_sweep_of_a_server_keeps_up_with_what_is_settled(owner_url: str) -> None:
    """A call of twenty generations forgets four hundred wishes."""
    url = make_conninfo(owner_url, options="-c copperplate.clock_offset=8d")
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(
            "insert into copperplate.wishes (owner, generation_key, kind, recipe, priority, status, created_at,"
            " settled_at, forget_at) select 'owner', repeat('a', 64), 'image', '{}', 2, 'completed', now(), now(),"
            " now() + interval '7 days' from generate_series(1, 500)"
        )
    with psycopg.connect(url) as later:
        later.execute("select public.sweep_generations(20)")
        assert later.execute("select count(*) from copperplate.wishes").fetchone() == (100,)
