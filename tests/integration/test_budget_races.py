"""Budgets where many processes meet: exactly as much as is allowed, however they interleave."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from copperplate.budgets import Budget
from tests.support.pictures import picture_request
from tests.support.spending import (
    at_once,
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
    from collections.abc import Iterable

    from copperplate.budgets import Spending
    from tests.support.spending import Connection


def prompts(count: int, name: str = "picture") -> Iterable[str]:
    return (f"{name} {number}" for number in range(count))


async def made(url: str, spends: Spending, count: int = 60) -> Counter[str]:
    """How so many misses at once ended."""

    async def act(connection: Connection, prompt: str) -> str:
        return await make(connection, prompt, spends)

    return Counter(await at_once(url, prompts(count), act))


async def deadlocks(connection: Connection) -> int:
    row = await one(connection, "select deadlocks from pg_stat_database where datname = current_database()")
    return int(row["deadlocks"])


# --- many at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [0, 1, 5, 16, 41])
async def test_of_many_misses_at_once_exactly_as_many_are_submitted_as_the_wall_has_pictures(
    owner_url: str, cap: int
) -> None:
    answers = await made(owner_url, spending(stranger(), pictures=cap))
    assert answers["lead"] == cap
    async with await connect(owner_url) as connection:
        assert await used(connection, "all") == (100 * cap, cap)
        assert await used(connection, "anonymous") == (100 * cap, cap)
        assert await faults(connection) == []


@pytest.mark.parametrize("cap", [99, 100, 770, 1_000, 3_350])
async def test_of_many_misses_at_once_exactly_as_many_are_submitted_as_the_wall_has_money_for(
    owner_url: str, cap: int
) -> None:
    answers = await made(owner_url, spending(stranger(), money=cap))
    assert answers["lead"] == cap // 100
    async with await connect(owner_url) as connection:
        assert (await used(connection, "all"))[0] == cap // 100 * 100
        assert await faults(connection) == []


async def test_the_smallest_of_several_budgets_decides(owner_url: str) -> None:
    own = stranger(pictures=9, money=10_000)
    answers = await made(owner_url, spending(own, money=5_000, pictures=30))
    assert answers["lead"] == 9
    async with await connect(owner_url) as connection:
        assert await used(connection, "all") == await used(connection, "address") == (900, 9)
        assert await faults(connection) == []


async def test_own_budget_elects_exactly_as_many_as_it_has_room_for(owner_url: str) -> None:
    spends = spending(key(pictures=7))

    async def act(connection: Connection, prompt: str) -> str:
        return str((await elect(connection, prompt, spends))["outcome"])

    answers = Counter(await at_once(owner_url, prompts(60), act))
    assert answers == {"lead": 7, "refused": 53}
    async with await connect(owner_url) as connection:
        assert (await used(connection, "key:k"), await used(connection, "all")) == ((700, 7), (0, 0))


async def test_caller_with_a_limit_of_pictures_under_way_leads_exactly_so_many(owner_url: str) -> None:
    spends = spending(key(), most=3)

    async def act(connection: Connection, prompt: str) -> str:
        row = await elect(connection, prompt, spends)
        return str(row["outcome"] if row["refusal"] is None else row["refusal"]["reason"])

    assert Counter(await at_once(owner_url, prompts(40), act)) == {"lead": 3, "too_many": 37}
    async with await connect(owner_url) as connection:
        # Another caller is not held up, and the submits of the first still count.
        assert (await elect(connection, "other", spending(key("other"), most=3)))["outcome"] == "lead"
        for row in await (await connection.execute("select prompt, fence from public.generation_status")).fetchall():
            if row["prompt"] != "other":
                await submit(connection, row["prompt"], row["fence"], spends)
        assert (await elect(connection, "more", spends))["refusal"]["reason"] == "too_many"


async def test_many_that_need_what_lapsed_get_it_once(owner_url: str) -> None:
    spends = spending(key(pictures=5))
    async with await connect(owner_url) as connection:
        for prompt in prompts(5, "dead"):
            assert (await elect(connection, prompt, spends, lease="0"))["outcome"] == "lead"
        assert (await made(owner_url, spends, 40))["lead"] == 5
        assert await used(connection, "key:k") == (500, 5)
        assert await faults(connection) == []


# --- bills ----------------------------------------------------------------------------------------


async def test_bills_that_differ_by_half_overspend_by_those_in_flight_at_most(owner_url: str) -> None:
    cap, spends, chance = 6_000, spending(stranger(), money=6_000), random.Random(7)

    async def act(connection: Connection, prompt: str) -> int:
        row = await elect(connection, prompt, spends)
        if row["outcome"] != "lead" or (await submit(connection, prompt, row["fence"], spends))["outcome"] != "lead":
            return 0
        bill = chance.randint(50, 150)
        assert await fail(connection, prompt, row["fence"], is_billed=True, cost=bill)
        return bill

    bills = await at_once(owner_url, prompts(150), act)
    async with await connect(owner_url) as connection:
        spent, pictures = await used(connection, "all")
        assert spent == sum(bills)
        assert pictures == sum(bill > 0 for bill in bills)
        assert spent <= cap + 16 * 50
        # What is left is less than a picture's price, and nobody gets it.
        assert (await make(connection, "one more", spends) == "used_up") == (spent + 100 > cap)
        assert await faults(connection) == []


async def overspend_and_give_back(connection: Connection, spends: Spending) -> None:
    """Ten submits use up a wall of 1000; three are billed twice their price, and seven come back."""
    fences = []
    for prompt in prompts(10, "early"):
        fences.append((prompt, (await elect(connection, prompt, spends))["fence"]))
        assert (await submit(connection, *fences[-1], spends))["outcome"] == "lead"
    for number, (prompt, fence) in enumerate(fences):
        assert await fail(connection, prompt, fence, is_billed=number < 3, cost=200 if number < 3 else None)
    assert await used(connection, "all") == (600, 3)


async def until_waiting(connection: Connection, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            row = await one(
                connection,
                "select count(*) as n from pg_stat_activity"
                " where wait_event_type = 'Lock' and datname = current_database()",
            )
            if row["n"] >= count:
                return
            await asyncio.sleep(0.01)


async def test_what_comes_back_above_the_wall_is_room_only_below_it(owner_url: str) -> None:
    """Seven submits look at the same room for four, and wait for their own keys before they book the wall."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(await connect(owner_url)) for _ in range(9)]
        owner, watcher, *others = opened
        await overspend_and_give_back(owner, spending(money=1_000))
        leads = []
        for number in range(7):
            own = key(str(number))
            row = await elect(owner, f"late {number}", spending(own, money=1_000))
            # Another amount than what was reserved, so that its own counter is touched.
            leads.append((f"late {number}", row["fence"], spending(own, amount=99, money=1_000)))
        async with owner.transaction():
            await owner.execute("select from copperplate.budget_usage where budget like 'key:%' for update")
            late = [asyncio.create_task(submit(other, *lead)) for other, lead in zip(others, leads, strict=True)]
            await until_waiting(watcher, 7)
        answers = Counter([row["outcome"] for row in await asyncio.gather(*late)])
        assert answers == {"lead": 4, "refused": 3}
        assert (await used(owner, "all"))[0] == 600 + 4 * 99
        assert await faults(owner) == []


# --- operators ------------------------------------------------------------------------------------


async def test_cap_set_lower_or_reset_amid_a_crowd_holds_from_then_on(owner_url: str) -> None:
    spends = spending(stranger(), pictures=1_000)
    async with await connect(owner_url) as connection:
        crowd = asyncio.create_task(made(owner_url, spends, 200))
        while (await used(connection, "all"))[1] < 20:
            await asyncio.sleep(0)
        await one(connection, "select public.set_budget('all', null, 25)")
        _, when_set = await used(connection, "all")
        answers = await crowd
        # Those that had looked before it was set are sixteen at most.
        assert answers["lead"] <= max(25, when_set) + 16
        assert answers["lead"] < 200
        # What is under way is not forgiven by a reset: it ends first.
        for row in await (await connection.execute("select prompt, fence from public.generation_status")).fetchall():
            await fail(connection, row["prompt"], row["fence"], is_billed=True)
        await one(connection, "select public.reset_budget('all')")

        async def act(connection: Connection, prompt: str) -> str:
            return await make(connection, prompt, spends)

        again = Counter(await at_once(owner_url, prompts(60, "again"), act))
        assert again["lead"] == 25
        assert await faults(connection) == []


# --- users who are deleted ------------------------------------------------------------------------


async def test_user_is_forgotten_after_what_they_had_begun_and_named_by_nothing_later(owner_url: str) -> None:
    user = "00000000-0000-4000-8000-00000000a11c"
    spends = spending((Budget(name=f"user:{user}", is_own=True),))
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(await connect(owner_url)) for _ in range(3)]
        electing, forgetting, watcher = opened
        row = await elect(electing, "sent", spends)
        await submit(electing, "sent", row["fence"], spends)
        async with electing.transaction():
            row = await elect(electing, "not yet committed", spends)
            forgotten = asyncio.create_task(one(forgetting, "select public.forget_user(%s)", user))
            await until_waiting(watcher, 1)
        await forgotten
        assert await faults(watcher) == []
        assert (await submit(electing, "not yet committed", row["fence"], spends))["outcome"] == "refused"
        for table in ("copperplate.budget_usage", "copperplate.submits", "public.generation_status"):
            named = await one(watcher, f"select count(*) as n from {table} as t where t::text like %s", f"%{user}%")
            assert (table, named["n"]) == (table, 0)
        assert await faults(watcher) == []


# --- everything at once ---------------------------------------------------------------------------


async def test_thousands_of_mixed_operations_neither_deadlock_nor_lose_a_cent(owner_url: str) -> None:
    chance = random.Random(11)
    kinds = [
        spending(stranger("192.0.2.1", money=90_000), money=150_000),
        spending(stranger("192.0.2.2", money=90_000), money=150_000, amount=70),
        spending(key("a", pictures=300), money=150_000),
        spending(key("b"), money=150_000, amount=130, most=5),
    ]

    async def act(connection: Connection, prompt: str) -> str:
        spends, prompt = chance.choice(kinds), f"shared {chance.randrange(400)}"
        generation = picture_request(prompt).generation_key
        row = await elect(connection, prompt, spends, lease=chance.choice(["0", "1 minute"]))
        if row["outcome"] != "lead":
            return str(row["outcome"])
        match chance.randrange(8):
            case 0:
                await connection.execute("delete from public.generation_status where prompt_hash = %s", (generation,))
            case 1:
                await one(connection, "select public.sweep_generations(5, '0')")
            case 2:
                cap = chance.randrange(80_000, 160_000)
                await one(connection, "select public.set_budget('anonymous', %s, null)", cap)
            case 3:
                await one(connection, "select public.reset_budget('key:a')")
            case 4:
                pass
            case _:
                sent = await submit(connection, prompt, row["fence"], spends, row["submit_no"] + 1)
                if sent["outcome"] != "lead":
                    return str(sent["outcome"])
                cost = chance.choice([None, chance.randrange(40, 200)])
                await fail(connection, prompt, row["fence"], is_billed=cost is not None, cost=cost)
        return "done"

    async with await connect(owner_url) as connection:
        before = await deadlocks(connection)
        answers = Counter(await at_once(owner_url, prompts(2_000), act))
        assert answers["done"] > 200
        assert await deadlocks(connection) == before
        assert await faults(connection) == []
        # Nothing is reserved for good.
        await one(connection, "select set_config('copperplate.clock_offset', '2min', false)")
        await one(connection, "select public.sweep_generations(10000, '0')")
        assert await faults(connection) == []
        row = await one(connection, "select count(*) as n from public.generation_status where reserved is not null")
        assert row["n"] == 0
