"""Credits where two connections meet: each order in which they can, scripted; and many at once, by numbers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import InsufficientCredits, Lead
from copperplate.model import Condition
from tests.contract.ledger.credits import ALICE, ANSWER, BOB, acquire_charged, balance_and_held, complete_charged
from tests.contract.ledger.harness import failure
from tests.support.pictures import MODEL, picture_request, upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.model import PictureRequest

CAROL = UUID(int=0xCA201)
MANY = 50
Connection = psycopg.AsyncConnection[dict[str, Any]]


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[Connection]:
    """Another process, at whichever point of its transaction the test has it."""
    async with await psycopg.AsyncConnection.connect(owner_url, row_factory=dict_row) as connection:
        yield connection


@contextlib.asynccontextmanager
async def at(url: str, offset: str) -> AsyncIterator[PostgresLedger]:
    """A ledger whose clock goes on so far ahead."""
    later = PostgresLedger(make_conninfo(url, options=f"-c copperplate.clock_offset={offset}"))
    await later.open()
    yield later
    await later.close()


async def run(connection: Connection, statement: str, *arguments: object) -> list[dict[str, Any]]:
    cursor = await connection.execute(statement.encode(), arguments)
    return await cursor.fetchall() if cursor.description else []


async def at_once(url: str, *statements: tuple[object, ...]) -> list[list[dict[str, Any]] | psycopg.Error]:
    """Each statement over a connection of its own, all at the same time; answers rows or refusals."""

    async def one(statement: str, *arguments: object) -> list[dict[str, Any]] | psycopg.Error:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
            await start.wait()
            try:
                return await run(connection, statement, *arguments)
            except psycopg.Error as error:
                return error

    start = asyncio.Barrier(len(statements))
    return await asyncio.gather(*(one(*each) for each in statements))  # type: ignore[arg-type]


async def until_blocked(url: str, calls: int, query: str) -> None:
    """Return once so many calls wait for a lock."""
    async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
        waiting = None
        while waiting != (calls,):
            await asyncio.sleep(0.01)
            cursor = await watch.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like %s",
                (f"%{query}%",),
            )
            waiting = await cursor.fetchone()


async def deadlocks(connection: Connection) -> int:
    [row] = await run(connection, "select deadlocks from pg_stat_database where datname = current_database()")
    return int(row["deadlocks"])


# --- reserved ---------------------------------------------------------------------------------


async def test_takeover_beside_a_sweep_that_is_releasing_pays_for_itself(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
    later = PostgresLedger(make_conninfo(owner_url, options="-c copperplate.clock_offset=901s"))
    await later.open()
    await run(other, "set copperplate.clock_offset = '901s'")
    assert await run(other, "select copperplate.release_expired(10) as n") == [{"n": 1}]
    # Bob has nothing. What Alice held is being released: there is nothing to inherit, and a look tells.
    assert await acquire_charged(later, picture_request(), BOB) == InsufficientCredits()
    await other.commit()
    assert await acquire_charged(later, picture_request(), BOB) == InsufficientCredits()
    assert await balance_and_held(later, ALICE) == (1, 0)
    await later.close()


async def test_sweep_beside_a_takeover_leaves_what_that_inherits(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
    later = PostgresLedger(make_conninfo(owner_url, options="-c copperplate.clock_offset=901s"))
    await later.open()
    await run(other, "set copperplate.clock_offset = '890s'")
    await run(other, "select copperplate.reserve_charges(%s, '[]')", picture_request().generation_key)
    await later.sweep(100)
    await other.commit()
    await later.sweep(100)
    assert await balance_and_held(later, ALICE) == (1, 1)
    await later.close()


async def test_owner_beside_a_sweep_that_is_releasing_waits_for_the_credit(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    assert isinstance(await acquire_charged(ledger, picture_request("dead"), ALICE), Lead)
    async with at(owner_url, "901s") as later:
        await run(other, "set copperplate.clock_offset = '901s'")
        assert await run(other, "select copperplate.release_expired(10) as n") == [{"n": 1}]
        user_requests = asyncio.create_task(acquire_charged(later, picture_request("another"), ALICE))
        await until_blocked(owner_url, 1, "acquire_generation")
        await other.commit()
        assert isinstance(await user_requests, Lead)
        assert await balance_and_held(later, ALICE) == (1, 1)


async def test_owner_whose_asks_meet_over_what_lapsed_leads_once(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    assert isinstance(await acquire_charged(ledger, picture_request("dead"), ALICE), Lead)
    async with at(owner_url, "901s") as later:
        await run(other, "select from copperplate.reservations for update")
        user_requests = [
            asyncio.create_task(acquire_charged(later, picture_request(f"another {n}"), ALICE)) for n in range(3)
        ]
        await until_blocked(owner_url, 3, "acquire_generation")
        await other.commit()
        answers = await asyncio.gather(*user_requests)
        assert sorted(type(each).__name__ for each in answers) == ["InsufficientCredits", "InsufficientCredits", "Lead"]
        assert await balance_and_held(later, ALICE) == (1, 1)
    assert await deadlocks(other) == 0


async def test_owner_beside_a_takeover_within_its_time_leaves_what_that_inherits(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    assert isinstance(await acquire_charged(ledger, picture_request("led"), ALICE), Lead)
    # Another process takes the generation over a moment before the time is up, and has not committed.
    await run(other, "set copperplate.clock_offset = '890s'")
    await run(other, "select copperplate.reserve_charges(%s, '[]')", picture_request("led").generation_key)
    async with at(owner_url, "901s") as later:
        user_requests = asyncio.create_task(acquire_charged(later, picture_request("another"), ALICE))
        await until_blocked(owner_url, 1, "acquire_generation")
        await other.commit()
        assert await user_requests == InsufficientCredits()
        assert await balance_and_held(later, ALICE) == (1, 1)


async def test_owners_who_each_take_over_what_lapsed_of_the_other_never_deadlock(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    for user, name in ((ALICE, "alice"), (BOB, "bob")):
        await ledger.grant_credits(user, 1, name)
        assert isinstance(await acquire_charged(ledger, picture_request(f"of {name}"), user), Lead)
    async with at(owner_url, "901s") as later:
        # Each needs both reservations: the other's for the picture, its own for the credit.
        await run(other, "select from copperplate.reservations order by id for update")
        crossed = [(picture_request("of bob"), ALICE), (picture_request("of alice"), BOB)]
        user_requests = [asyncio.create_task(acquire_charged(later, asked, user)) for asked, user in crossed]
        await until_blocked(owner_url, 2, "acquire_generation")
        await other.commit()
        assert [type(each) for each in await asyncio.gather(*user_requests)] == [Lead, Lead]
        assert (await balance_and_held(later, ALICE), await balance_and_held(later, BOB)) == ((1, 1), (1, 1))
    assert await deadlocks(other) == 0


async def test_takeover_that_frees_one_account_and_charges_another_waits_in_line_with_a_purge(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    for user, name in ((ALICE, "alice"), (BOB, "bob")):
        await ledger.grant_credits(user, 2, name)
        await complete_charged(ledger, picture_request(f"of {name}"), user, name)
    first, second = (row["user_id"] for row in await run(other, "select user_id from copperplate.accounts order by id"))
    await other.commit()
    assert isinstance(await acquire_charged(ledger, picture_request("dead"), second), Lead)
    async with at(owner_url, "901s") as later:
        # The purge gives back to both, the first account first; the takeover frees the second and charges the first.
        await run(other, "select from copperplate.accounts where user_id = %s for update", first)
        purging = asyncio.create_task(
            at_once(owner_url, ("delete from public.generation_status where prompt like %s", "of %"))
        )
        await until_blocked(owner_url, 1, "delete from public.generation_status")
        taking = asyncio.create_task(acquire_charged(later, picture_request("dead"), first))
        await until_blocked(owner_url, 1, "acquire_generation")
        await other.commit()
        assert await purging == [[]]
        assert isinstance(await taking, Lead)
        assert (await balance_and_held(later, first), await balance_and_held(later, second)) == ((2, 1), (2, 0))
    assert await deadlocks(other) == 0


async def test_two_completions_at_once_settle_once(ledger: PostgresLedger, other: Connection, owner_url: str) -> None:
    await ledger.grant_credits(ALICE, 2, "g")
    held = await acquire_charged(ledger, picture_request(), ALICE)
    assert isinstance(held, Lead)
    key, fence, made = picture_request().generation_key, held.fence, upload("a")
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="p")
    assert await ledger.intend_upload(key, fence, made, usage={})
    await run(other, "select from public.generation_status where prompt_hash = %s for update", key)
    both = [asyncio.create_task(ledger.complete(key, fence, made, url=None)) for _ in range(2)]
    await until_blocked(owner_url, 2, "complete_generation")
    await other.commit()
    first, second = await asyncio.gather(*both)
    assert first == second
    assert await balance_and_held(ledger, ALICE) == (1, 0)


# --- given back -------------------------------------------------------------------------------


async def test_purge_before_a_delivery_refunds_and_the_delivery_changes_nothing(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    await complete_charged(ledger, picture_request(), ALICE)
    await run(other, "delete from public.generation_status where prompt_hash = %s", picture_request().generation_key)
    delivering = asyncio.create_task(ledger.deliver(ALICE, picture_request().generation_key, ANSWER, None))
    await until_blocked(owner_url, 1, "deliver_generation")
    await other.commit()
    assert (await delivering)["url"] == ANSWER["url"]
    assert await balance_and_held(ledger, ALICE) == (1, 0)


async def test_purge_that_waited_for_a_delivery_refunds_nothing(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 1, "g")
    entry = await complete_charged(ledger, picture_request(), ALICE)
    await run(other, "select public.deliver_generation(%s, %s, '{}')", ALICE, picture_request().generation_key)
    losing = asyncio.create_task(ledger.report_missing(entry))
    await until_blocked(owner_url, 1, "report_missing")
    await other.commit()
    assert await losing
    assert await balance_and_held(ledger, ALICE) == (0, 0)


async def test_two_deletions_over_the_same_accounts_in_opposite_order_wait_in_line(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    users = {ALICE: "alice", BOB: "bob", CAROL: "carol"}
    for user, name in users.items():
        await ledger.grant_credits(user, 2, name)
    orders = [[ALICE, CAROL, BOB], [BOB, CAROL, ALICE]]
    for number, order in enumerate(orders):
        for user in order:
            asked = picture_request(f"{number} of {users[user]}")
            await complete_charged(ledger, asked, user, asked.generation_key)
    # Each comes to Carol's account second, and finds it taken.
    await run(other, "select from copperplate.accounts where user_id = %s for update", CAROL)
    deletions = asyncio.create_task(
        at_once(
            owner_url,
            *(("delete from public.generation_status where prompt like %s", f"{number} of %") for number in (0, 1)),
        )
    )
    await until_blocked(owner_url, 2, "delete from public.generation_status")
    await other.commit()
    assert await deletions == [[], []]
    assert [await balance_and_held(ledger, user) for user in users] == [(2, 0)] * 3
    assert await deadlocks(other) == 0


async def test_purge_beside_a_sweep_that_has_its_second_reservation_waits_with_no_account_taken(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 2, "g")
    keys = [picture_request(prompt).generation_key for prompt in ("first", "second")]
    for prompt in ("first", "second"):
        assert isinstance(await acquire_charged(ledger, picture_request(prompt), ALICE), Lead)
    # The sweep picked the reservation that a purge of both comes to last, and has not come to its account yet.
    [last] = await run(other, "select id from copperplate.reservations order by id desc limit 1 for update")
    purging = asyncio.create_task(at_once(owner_url, ("select from copperplate.give_back_all(%s)", keys)))
    await until_blocked(owner_url, 1, "give_back_all")
    await run(other, "select copperplate.release_all(%s)", [last["id"]])
    await other.commit()
    assert await purging == [[]]
    assert await balance_and_held(ledger, ALICE) == (2, 0)
    assert await deadlocks(other) == 0


# --- breakers and accounts -------------------------------------------------------------------


async def submitted(ledger: PostgresLedger, prompt: str, user: UUID) -> Lead:
    """Lead on somebody's account, as far as the intended upload."""
    held = await acquire_charged(ledger, picture_request(prompt), user)
    assert isinstance(held, Lead), held
    key = picture_request(prompt).generation_key
    assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
    assert await ledger.intend_upload(key, held.fence, upload(prompt), usage={})
    return held


async def test_failing_and_completing_pictures_of_one_user_wait_in_line(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.grant_credits(ALICE, 3, "g")
    for prompt in ("first", "bad"):  # the first failure leaves a breaker, which a success removes
        bad = await submitted(ledger, prompt, ALICE)
        if prompt == "first":
            await ledger.fail(picture_request(prompt).generation_key, bad.fence, failure())
    good = await submitted(ledger, "good", ALICE)
    await run(other, "select from copperplate.accounts where user_id = %s for update", ALICE)
    failing = asyncio.create_task(ledger.fail(picture_request("bad").generation_key, bad.fence, failure()))
    await until_blocked(owner_url, 1, "fail_generation")
    completing = asyncio.create_task(
        ledger.complete(picture_request("good").generation_key, good.fence, upload("good"), url=None)
    )
    await until_blocked(owner_url, 1, "complete_generation")
    await other.commit()
    assert await failing
    assert await completing is not None
    assert await balance_and_held(ledger, ALICE) == (2, 0)
    assert await deadlocks(other) == 0


async def test_crowd_that_fails_and_completes_on_one_account_never_deadlocks(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    """Eight at a time over both services of the picture, one of which just failed."""
    await ledger.grant_credits(ALICE, 1_000, "g")

    async def one(number: int) -> None:
        for turn in range(15):
            prompt = f"picture {number} {turn}"
            held, key = await submitted(ledger, prompt, ALICE), picture_request(prompt).generation_key
            if (number + turn) % 2:
                await ledger.fail(key, held.fence, failure())
            else:
                await ledger.complete(key, held.fence, upload(prompt), url=None)
            await ledger.report_refusal("storage:generated-images", FailureClass.STORE, "full", timedelta(0))

    await asyncio.gather(*(one(number) for number in range(8)))
    assert await balance_and_held(ledger, ALICE) == (1_000 - 60, 0)
    assert await deadlocks(other) == 0


# --- asked and granted ------------------------------------------------------------------------


async def test_key_sent_fifty_times_at_once_stands_for_one_generation(owner_url: str, other: Connection) -> None:
    begin = "select public.begin_request(%s, %s, 'k') as told"
    answers = await at_once(owner_url, *((begin, ALICE, str(number % 2) * 64) for number in range(MANY)))
    [row] = await run(other, "select generation_key from copperplate.user_requests")
    told = [(each[0]["told"]["is_conflict"], str(number % 2) * 64) for number, each in enumerate(answers)]  # type: ignore[index]
    assert all(is_conflict == (key != row["generation_key"]) for is_conflict, key in told)
    assert await run(other, "select count(*) as n from copperplate.accounts") == [{"n": 1}]


async def test_key_of_yesterday_sent_fifty_times_at_once_stands_for_one_generation(
    owner_url: str, ledger: PostgresLedger, other: Connection
) -> None:
    await ledger.begin_request(ALICE, "f" * 64, "k")
    url = make_conninfo(owner_url, options="-c copperplate.clock_offset=86401s")
    begin = "select public.begin_request(%s, %s, 'k') as told"
    answers = await at_once(url, *((begin, ALICE, str(number % 2) * 64) for number in range(MANY)))
    assert [each for each in answers if isinstance(each, psycopg.Error)] == []
    [row] = await run(other, "select generation_key from copperplate.user_requests")
    assert row["generation_key"] in ("0" * 64, "1" * 64)
    assert sum(each[0]["told"]["is_conflict"] for each in answers) == MANY // 2  # type: ignore[index]


async def test_grant_sent_fifty_times_at_once_counts_once(owner_url: str, ledger: PostgresLedger) -> None:
    grant = "select public.grant_credits(%s, 5, 'order 1') as told"
    answers = await at_once(owner_url, *([(grant, ALICE)] * MANY))
    assert [each[0]["told"]["balance"] for each in answers] == [5] * MANY  # type: ignore[index]
    assert await balance_and_held(ledger, ALICE) == (5, 0)


async def test_reference_given_to_two_users_at_once_is_one_users(owner_url: str, ledger: PostgresLedger) -> None:
    grant = "select public.grant_credits(%s, 5, 'order 1')"
    answers = await at_once(owner_url, *((grant, UUID(int=number + 1)) for number in range(10)))
    assert sorted(each.sqlstate or "" for each in answers if isinstance(each, psycopg.Error)) == ["ZC009"] * 9
    assert (await ledger.audit_credits())["granted"] == 5


async def test_ask_beside_the_deletion_of_its_user_is_answered_and_leaves_no_name_for_long(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.begin_request(ALICE, picture_request().generation_key, "k")
    await run(other, "select public.forget_user(%s)", ALICE)
    # Her token is good for a while yet.
    user_requests = asyncio.create_task(ledger.begin_request(ALICE, picture_request().generation_key, "k"))
    await until_blocked(owner_url, 1, "begin_request")
    await other.commit()
    assert not (await user_requests).is_conflict
    await run(other, "set copperplate.clock_offset = '86401s'")
    await run(other, "select public.sweep_generations(100)")
    assert await run(other, "select id from copperplate.accounts where user_id = %s", ALICE) == []


async def test_account_that_somebody_has_begun_to_ask_with_is_not_tidied_away(
    ledger: PostgresLedger, other: Connection, owner_url: str
) -> None:
    await ledger.begin_request(ALICE, picture_request().generation_key, "old")
    await run(other, "set copperplate.clock_offset = '86401s'")
    await run(other, "select public.begin_request(%s, %s, 'new')", ALICE, picture_request().generation_key)
    url = make_conninfo(owner_url, options="-c copperplate.clock_offset=86401s")
    assert await at_once(url, ("select copperplate.forget_old_requests(10) as n",)) == [[{"n": 1}]]
    await other.commit()
    assert await ledger.is_requested_by(ALICE, picture_request().generation_key)


# --- all of it --------------------------------------------------------------------------------


async def end(ledger: PostgresLedger, asked: PictureRequest, held: Lead, rng: random.Random) -> None:
    """Complete, fail or die. Others may have taken over or removed it at any point: no answer is looked at."""
    key, fence, made = asked.generation_key, held.fence, upload(f"{asked.generation_key} {held.fence}")
    await ledger.begin_submit(key, fence, submit_no=held.submit_no + 1, provider="p")
    match rng.randrange(4):
        case 0:
            return
        case 1:
            await ledger.fail(key, fence, failure(FailureClass.MODERATED, rest=0))
        case _:
            await ledger.intend_upload(key, fence, made, usage={})
            await ledger.complete(key, fence, made, url="https://example.com/a.png")


async def storm(ledger: PostgresLedger, users: list[UUID], seed: int, steps: int) -> None:
    """One process that does everything there is to do with few keys and few accounts."""
    rng = random.Random(seed)
    for _ in range(steps):
        asked, user = picture_request(f"picture {rng.randrange(6)}"), rng.choice(users)
        match rng.randrange(8):
            case 0 | 1 | 2:
                held = await acquire_charged(ledger, asked, user)
                if isinstance(held, Lead):
                    await end(ledger, asked, held, rng)
            case 3:
                await ledger.deliver(user, asked.generation_key, ANSWER, rng.choice(("k", None)))
            case 4:
                await ledger.purge(Condition(model=MODEL), rng.randrange(1, 4), is_dry_run=False)
            case 5:
                await ledger.sweep(100)
            case 6:
                await ledger.begin_request(user, asked.generation_key, rng.choice(("k", "l", None)))
            case _:
                await ledger.grant_credits(user, 1, str(uuid4()))


@pytest.mark.parametrize("seed", range(3))
async def test_everything_at_once_over_eight_connections_leaves_sums_that_agree(
    owner_url: str, other: Connection, seed: int
) -> None:
    users = [ALICE, BOB, CAROL]
    # Half of them live sixteen minutes later: to these every lease has ended and every reservation expired.
    offsets = [f"-c copperplate.clock_offset={number % 2 * 960}s" for number in range(8)]
    ledgers = [PostgresLedger(make_conninfo(owner_url, options=each)) for each in offsets]
    for each in ledgers:
        await each.open()
    await asyncio.gather(*(storm(each, users, seed * 8 + n, 100) for n, each in enumerate(ledgers)))
    await balance_and_held(ledgers[0], ALICE)
    audit = await ledgers[0].audit_credits()
    assert min(audit["granted"], audit["settled"], audit["refunded"]) > 0
    assert await deadlocks(other) == 0
    for each in ledgers:
        await each.close()
