"""Elections and submits that spend, over connections of their own: many at once."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from copperplate.adapters.ledger.budget_rows import spending_row
from copperplate.budgets import Budget, Spending
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

T = TypeVar("T")
Connection = psycopg.AsyncConnection[dict[str, Any]]
ACQUIRE = "select a.* from public.acquire_generation(%s, %s, %s, %s, %s, '[]', '{}', %s) as a"
SUBMIT = "select s.* from public.begin_submit(%s, %s, %s, 'p', %s, %s) as s"


def stranger(
    address: str = "192.0.2.1", *, pictures: int | None = None, money: int | None = None
) -> tuple[Budget, ...]:
    """The own budgets of a caller whom nobody knows; the caps are what strangers share."""
    return (
        Budget(name=f"address:{address}", is_own=True),
        Budget(name="anonymous", cap_micro_usd=money, cap_pictures=pictures, is_own=True),
    )


def key(name: str = "k", *, pictures: int | None = None, money: int | None = None) -> tuple[Budget, ...]:
    """The own budget of an API key."""
    return (Budget(name=f"key:{name}", cap_micro_usd=money, cap_pictures=pictures, is_own=True),)


def spending(
    own: tuple[Budget, ...] = (),
    *,
    amount: int = 100,
    money: int | None = None,
    pictures: int | None = None,
    most: int | None = None,
) -> Spending:
    """What a miss spends: `money` and `pictures` are the caps of everything."""
    house = (Budget(name="model:p/m"), Budget(name="provider:p"))
    wall = Budget(name="all", cap_micro_usd=money, cap_pictures=pictures)
    return Spending(payer="test", amount_micro_usd=amount, budgets=(*own, *house, wall), max_in_flight=most)


async def connect(url: str, offset: str | None = None) -> Connection:
    """Another process; with a clock that goes on so far ahead."""
    options = "" if offset is None else f"-c copperplate.clock_offset={offset}"
    return await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row, options=options)


async def one(connection: Connection, statement: str, *arguments: object) -> dict[str, Any]:
    """The one row that a statement answers."""
    cursor = await connection.execute(statement.encode(), arguments)
    row = await cursor.fetchone()
    assert row is not None
    return row


async def elect(
    connection: Connection, prompt: str, spends: Spending | None, *, lease: str = "1 hour"
) -> dict[str, Any]:
    """Ask for a picture; again while others win, which is a `wait` for nobody."""
    request = picture_request(prompt)
    arguments = (
        json.dumps(request.recipe), request.generation_key, request.rendition_key, uuid4(), lease,
        None if spends is None else json.dumps(spending_row(spends)),
    )  # fmt: skip
    while True:
        row = await one(connection, ACQUIRE, *arguments)
        if row["outcome"] != "wait" or row["lease_left_ms"]:
            return row


async def submit(
    connection: Connection, prompt: str, fence: int, spends: Spending | None, number: int = 1
) -> dict[str, Any]:
    """Begin a submit."""
    amount = None if spends is None else spends.amount_micro_usd
    row = None if spends is None else json.dumps(spending_row(spends))
    return await one(connection, SUBMIT, picture_request(prompt).generation_key, fence, number, amount, row)


async def make(connection: Connection, prompt: str, spends: Spending) -> str:
    """Elect and submit; `lead`, or the reason of the refusal."""
    row = await elect(connection, prompt, spends)
    if row["outcome"] == "lead":
        row = await submit(connection, prompt, row["fence"], spends)
    return str(row["outcome"] if row["refusal"] is None else row["refusal"]["reason"])


async def fail(
    connection: Connection, prompt: str, fence: int, *, is_billed: bool = False, cost: int | None = None
) -> bool:
    """End without a picture."""
    row = await one(
        connection,
        "select public.fail_generation(%s, %s, 'transient', '', '0', %s, '{}', %s) as done",
        picture_request(prompt).generation_key, fence, is_billed, cost,
    )  # fmt: skip
    return bool(row["done"])


async def used(connection: Connection, budget: str, day: str | None = None) -> tuple[int, int]:
    """Money and pictures that are counted; of all addresses by `address`."""
    row = await one(
        connection,
        "select coalesce(sum(u.spent_micro_usd), 0)::bigint as money, coalesce(sum(u.pictures), 0)::bigint as pictures"
        " from copperplate.budget_usage as u where (u.budget = %s or (%s = 'address' and u.budget like 'address:%%'))"
        " and (%s::date is null or u.day = %s::date)",
        budget, budget, day, day,
    )  # fmt: skip
    return row["money"], row["pictures"]


async def faults(connection: Connection) -> list[dict[str, Any]]:
    """Counters that are not what was booked."""
    row = await one(connection, "select public.audit_budgets() as audit")
    return list(row["audit"]["faults"])


async def at_once(
    url: str, prompts: Iterable[str], act: Callable[[Connection, str], Awaitable[T]], *, connections: int = 16
) -> Sequence[T]:
    """Act on each prompt, so many at a time, each over a connection of its own."""
    waiting = list(prompts)[::-1]
    answers: list[T] = []

    async def work(connection: Connection) -> None:
        await start.wait()
        while waiting:
            answers.append(await act(connection, waiting.pop()))

    start = asyncio.Barrier(connections)
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(await connect(url)) for _ in range(connections)]
        await asyncio.gather(*map(work, opened))
    return answers
