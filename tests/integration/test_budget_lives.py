"""Budgets in the life of a generation: takeovers, lapses, deletions, bills, days that change; refused misses."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from tests.support.pictures import picture_request
from tests.support.spending import (
    connect,
    elect,
    fail,
    faults,
    key,
    make,
    one,
    spending,
    stranger,
    submit,
    used,
)

if TYPE_CHECKING:
    from tests.support.spending import Connection


# --- bills ---------------------------------------------------------------------------------------


async def test_later_submits_wait_until_what_was_overspent_is_made_up(owner_url: str) -> None:
    spends = spending(key(money=300))
    async with await connect(owner_url) as connection:
        row = await elect(connection, "dear", spends)
        await submit(connection, "dear", row["fence"], spends)
        await fail(connection, "dear", row["fence"], is_billed=True, cost=310)
        assert await make(connection, "next", spending(key(money=300), amount=0)) == "used_up"
        await one(connection, "select public.set_budget('key:k', 409, null)")
        assert await make(connection, "next", spends) == "used_up"
        await one(connection, "select public.set_budget('key:k', 410, null)")
        assert await make(connection, "next", spends) == "lead"
        assert await faults(connection) == []


# --- takeovers, lapses, deletions -----------------------------------------------------------------


async def test_takeover_keeps_what_both_reserve_and_gives_the_rest_back(owner_url: str) -> None:
    async with await connect(owner_url) as connection:
        await elect(connection, "fox", spending(stranger("192.0.2.1", pictures=1)), lease="0")
        row = await elect(connection, "fox", spending(stranger("192.0.2.2", pictures=1)))
        assert row["outcome"] == "lead"
        assert await used(connection, "anonymous") == await used(connection, "address") == (100, 1)
        assert (await submit(connection, "fox", row["fence"], spending(stranger("192.0.2.2"))))["outcome"] == "lead"
        assert await used(connection, "anonymous") == await used(connection, "all") == (100, 1)
        assert await faults(connection) == []


async def test_takeover_that_only_collects_is_refused_by_no_budget(owner_url: str) -> None:
    nothing = spending(stranger(pictures=0), pictures=0)
    async with await connect(owner_url) as connection:
        row = await elect(connection, "fox", spending(stranger()), lease="0")
        generation = picture_request("fox").generation_key
        await submit(connection, "fox", row["fence"], spending(stranger()))
        assert (await elect(connection, "fox", nothing))["outcome"] == "refused"
        await one(connection, "select public.note_request(%s, %s, 'job', '{}')", generation, row["fence"])
        assert (await elect(connection, "fox", nothing))["outcome"] == "lead"
        assert await used(connection, "all") == (100, 1)
        assert await faults(connection) == []


async def test_reservation_whose_lease_ran_out_is_free_without_a_sweep(owner_url: str) -> None:
    spends = spending(key(pictures=1))
    async with await connect(owner_url) as connection:
        old = await elect(connection, "dead", spends, lease="0")
        assert (await elect(connection, "next", spends))["outcome"] == "lead"
        assert await used(connection, "key:k") == (100, 1)
        # Who comes back late has nothing reserved any more.
        late = await submit(connection, "dead", old["fence"], spends)
        assert (late["outcome"], late["refusal"]["reason"]) == ("refused", "in_flight")
        assert await faults(connection) == []


async def test_sweep_gives_back_what_was_reserved_and_nothing_that_was_booked(owner_url: str) -> None:
    spends = spending(key())
    async with await connect(owner_url) as connection:
        await elect(connection, "dead", spends, lease="0")
        row = await elect(connection, "sent", spends, lease="0")
        await submit(connection, "sent", row["fence"], spends)
        await one(connection, "select public.sweep_generations(10, '0')")
        assert await used(connection, "key:k") == await used(connection, "all") == (100, 1)
        assert await faults(connection) == []


async def test_deletion_keeps_what_was_booked_and_frees_what_was_reserved(owner_url: str) -> None:
    spends = spending(stranger())
    async with await connect(owner_url) as connection:
        row = await elect(connection, "sent", spends)
        await submit(connection, "sent", row["fence"], spends)
        await elect(connection, "held", spends)
        assert await used(connection, "address") == (200, 2)
        await connection.execute("delete from public.generation_status")
        assert await used(connection, "address") == await used(connection, "all") == (100, 1)
        assert await faults(connection) == []


async def test_forgotten_user_is_in_no_budget_and_what_was_spent_stays(owner_url: str) -> None:
    user = "00000000-0000-4000-8000-00000000a11c"
    spends = spending((key()[0].__class__(name=f"user:{user}", is_own=True),))
    async with await connect(owner_url) as connection:
        row = await elect(connection, "sent", spends)
        await submit(connection, "sent", row["fence"], spends)
        await elect(connection, "held", spends)
        await one(connection, "select public.set_budget(%s, 5, null)", f"user:{user}")
        await one(connection, "select public.forget_user(%s)", user)
        for table in ("budgets", "budget_usage", "budget_resets", "submits"):
            row = await one(
                connection, f"select count(*) as n from copperplate.{table} as t where t::text like %s", f"%{user}%"
            )
            assert (table, row["n"]) == (table, 0)
        assert await used(connection, "all") == (100, 1)
        assert await faults(connection) == []


# --- days -----------------------------------------------------------------------------------------


async def test_day_that_changes_between_election_submit_and_bill(owner_url: str) -> None:
    now = datetime.now(UTC)
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=2)
    first, second = str((midnight - timedelta(days=1)).date()), str(midnight.date())

    def at(moment: datetime) -> str:
        return f"{(moment - datetime.now(UTC)).total_seconds():.0f}s"

    spends = spending(stranger(pictures=1), pictures=1)
    async with (
        await connect(owner_url, at(midnight - timedelta(minutes=5))) as before,
        await connect(owner_url, at(midnight + timedelta(minutes=5))) as after,
        await connect(owner_url, at(midnight + timedelta(days=1, minutes=5))) as later,
    ):
        row = await elect(before, "fox", spends, lease="3 days")
        assert await used(before, "anonymous", first) == await used(before, "address", first) == (100, 1)
        assert (await submit(after, "fox", row["fence"], spends))["outcome"] == "lead"
        assert await used(after, "anonymous", first) == await used(after, "address", first) == (0, 0)
        assert await used(after, "anonymous", second) == await used(after, "all", second) == (100, 1)
        # The day before has its picture again, the new one does not.
        assert await make(before, "owl", spends) == "lead"
        assert (await elect(after, "hen", spends))["outcome"] == "refused"
        # A submit settles in the day of its begin_submit.
        assert await fail(later, "fox", row["fence"], is_billed=True, cost=130)
        assert await used(later, "all", second) == (130, 1)
        assert (await elect(later, "hen", spends))["outcome"] == "lead"
        assert await faults(later) == []


async def test_days_that_are_over_are_folded_and_addresses_forgotten(owner_url: str) -> None:
    spends = spending(stranger())
    async with await connect(owner_url) as connection, await connect(owner_url, "72h") as later:
        row = await elect(connection, "fox", spends, lease="30 days")
        assert (await submit(connection, "fox", row["fence"], spends))["outcome"] == "lead"
        await elect(connection, "owl", spends, lease="0")
        row = await one(later, "select public.sweep_generations(100, '0') as swept")
        assert row["swept"] == 1
        rows = await (await later.execute("select budget, stripe from copperplate.budget_usage")).fetchall()
        assert {(row["budget"], row["stripe"]) for row in rows} == {
            (name, 0) for name in ("all", "anonymous", "model:p/m", "provider:p")
        }
        assert (await one(later, "select count(*) as n from copperplate.address_salts"))["n"] == 0
        assert await faults(later) == []
        fence = (await one(later, "select fence from public.generation_status where status = 'generating'"))["fence"]
        assert await fail(later, "fox", fence, is_billed=True, cost=170)
        assert await used(later, "all") == (170, 1)
        assert await faults(later) == []


async def test_prepaid_money_is_not_there_again_the_next_day(owner_url: str) -> None:
    spends = spending(key())
    async with await connect(owner_url) as connection, await connect(owner_url, "24h") as later:
        await one(connection, "select public.set_budget('prepaid/key:k', 250, null)")
        assert [await make(connection, "fox", spends), await make(later, "owl", spends)] == ["lead", "lead"]
        row = await elect(later, "hen", spends)
        assert (row["refusal"]["budget"], row["refusal"]["resets_at"]) == ("prepaid/key:k", None)
        await one(connection, "select public.set_budget('prepaid/key:k', 300, null)")
        assert await make(later, "hen", spends) == "lead"
        assert await used(connection, "prepaid/key:k") == (300, 3)
        assert await faults(later) == []


# --- refused misses -------------------------------------------------------------------------------


async def written(connection: Connection) -> dict[str, Any]:
    await one(connection, "select pg_stat_force_next_flush()")
    return await one(
        connection,
        "select sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint as writes, sum(n_dead_tup)::bigint as dead"
        " from pg_stat_user_tables where schemaname in ('public', 'copperplate')",
    )


async def wrote_nothing(connection: Connection) -> bool:
    """Whether the open transaction has no id yet: the first row it writes or locks gives it one."""
    return bool((await one(connection, "select pg_current_xact_id_if_assigned() is null as is_so"))["is_so"])


async def test_a_thousand_refused_misses_write_nothing(owner_url: str) -> None:
    spends = spending(stranger(), pictures=0)
    charge = '[{"kind": "credit", "user_id": "00000000-0000-4000-8000-00000000a11c", "amount": 1}]'
    async with await connect(owner_url) as connection:
        await one(connection, "select copperplate.make_salts(current_date)")
        before = await written(connection)
        for number in range(500):
            async with connection.transaction():
                assert (await elect(connection, f"refused {number}", spends))["outcome"] == "refused"
                request = picture_request(f"poor {number}")
                denied = await one(
                    connection,
                    "select (public.acquire_generation(%s, %s, %s, gen_random_uuid(), '1 minute', %s)).outcome",
                    json.dumps(request.recipe), request.generation_key, request.rendition_key, charge,
                )  # fmt: skip
                assert denied["outcome"] == "denied"
                assert await wrote_nothing(connection)
        assert await written(connection) == before
        async with connection.transaction():
            assert (await elect(connection, "granted", spending(key())))["outcome"] == "lead"
            assert not await wrote_nothing(connection)


async def test_refused_submit_gives_the_lead_back_to_whoever_asks_next(owner_url: str) -> None:
    async with await connect(owner_url) as connection, await connect(owner_url) as other:
        row = await elect(connection, "fox", spending(stranger(), pictures=1))
        assert await make(other, "owl", spending(key(), pictures=1)) == "lead"
        assert (await submit(connection, "fox", row["fence"], spending(stranger(), pictures=1)))["outcome"] == "refused"
        assert await used(connection, "anonymous") == (0, 0)
        again = await elect(other, "fox", spending(key(), pictures=2))
        assert (again["outcome"], again["attempt"], again["submit_no"]) == ("lead", 1, 0)
        assert await faults(connection) == []


async def test_a_stripe_that_another_transaction_holds_is_passed_over(owner_url: str) -> None:
    spends = spending(key())
    async with await connect(owner_url) as connection:
        assert await make(connection, "first", spends) == "lead"
        async with await psycopg.AsyncConnection.connect(owner_url) as holder:
            await holder.execute("select from copperplate.budget_usage where stripe = 0 for update")
            async with asyncio.timeout(30):
                assert await make(connection, "second", spends) == "lead"
