"""Money: one book, read by every route, whatever became of the pictures; and its sums, recomputed from it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
import pytest

from bench.measurements import spend
from copperplate.failure_classes import FailureClass
from copperplate.model import Condition, Outcome
from tests.contract.ledger.harness import LEASE, failure, lead, request_count
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.adapters.ledger.postgres import PostgresLedger

# Each sum as the totals have it, and as the book has it.
SUMS = """
with book as (
    select s.*, coalesce(s.cost_micro_usd, s.estimate_micro_usd) as price from copperplate.submits as s
)
select
    (
        select array[
            coalesce(sum(m.submits), 0), coalesce(sum(m.estimated), 0), coalesce(sum(m.unpriced), 0),
            coalesce(sum(m.spent_micro_usd), 0), coalesce(sum(m.saved), 0), coalesce(sum(m.unpriced_saved), 0),
            coalesce(sum(m.saved_micro_usd), 0)
        ]::bigint[] from copperplate.money_totals as m
    ),
    (
        select array[
            count(*), count(*) filter (where b.cost_micro_usd is null and b.price is not null),
            count(*) filter (where b.price is null), coalesce(sum(b.price), 0), coalesce(sum(b.saved), 0),
            coalesce(sum(b.saved) filter (where b.price is null), 0), coalesce(sum(b.saved * b.price), 0)
        ]::bigint[] from book as b
    )
"""


def recomputed(url: str) -> list[int]:
    """The sums of money, which must be those of the book."""
    with psycopg.connect(url) as connection:
        row = connection.execute(SUMS).fetchone()
    assert row is not None
    totals, book = row
    assert totals == book
    return list(book)


@pytest.mark.parametrize("name", ["fal", "openai"])
def test_money_by_every_route_is_the_bill_over_mixed_outcomes_and_callers_that_left(owner_url: str, name: str) -> None:
    seen = spend.mixed(owner_url, name, outcomes=60, say=lambda _: None)
    assert set(seen.outcomes) >= {"ok", spend.LEFT, "answer lost, then a picture"}
    assert seen.heard == 0
    assert seen.saved > 0
    assert len(seen.routes) == 5
    assert set(seen.routes.values()) == {(seen.spent, seen.saved)}
    recomputed(owner_url)


async def test_sums_of_money_are_those_of_the_book_after_whatever_happened_to_it(
    ledger: PostgresLedger, owner_url: str
) -> None:
    rng = random.Random(1)
    for number in range(40):
        asked, key = picture_request(f"picture {number}"), picture_request(f"picture {number}").generation_key
        held = await ledger.acquire(asked, leader=UUID(int=number + 1), lease_duration=LEASE)
        fence = held.fence  # type: ignore[union-attr]
        for submit_no in range(1, rng.randint(1, 2) + 1):
            estimate = rng.choice((None, 50))
            await ledger.begin_submit(key, fence, submit_no=submit_no, provider="p", estimate_micro_usd=estimate)
        match rng.choice(("kept", "refused", "billed", "under way", "purged")):
            case "kept" | "purged" as fate:
                cost = rng.choice((None, 40, 60))
                await ledger.intend_upload(key, fence, upload(key), usage={}, cost_micro_usd=cost)
                await ledger.complete(key, fence, upload(key), url=None)
                if fate == "purged":
                    await ledger.purge(Condition(key=key), 10, is_dry_run=False)
            case "refused":
                await ledger.fail(key, fence, failure(FailureClass.RATE_LIMITED, billed=False))
            case "billed":
                await ledger.fail(key, fence, failure(FailureClass.BAD_OUTPUT))
        hits = [request_count(asked, rng.choice(list(Outcome)), rng.randint(1, 9)) for _ in range(3)]
        await ledger.record_usage(hits, batch=uuid4())
    before = recomputed(owner_url)
    assert all(figure > 0 for figure in before)
    await ledger.sweep(100)  # which folds them
    assert recomputed(owner_url) == before
    with psycopg.connect(owner_url) as connection:
        connection.execute("update copperplate.submits set cost_micro_usd = 7 where id % 2 = 0")
        connection.execute("delete from copperplate.submits where id % 5 = 0")
    assert recomputed(owner_url) != before


async def test_a_billed_submit_whose_caller_got_nothing_is_spent(ledger: PostgresLedger, owner_url: str) -> None:
    held = await lead(ledger, picture_request())
    assert await ledger.begin_submit(
        picture_request().generation_key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50
    )
    await ledger.record_usage([request_count(picture_request(), Outcome.FAILED, 1)])
    [image, *_] = await ledger.savings()
    assert (image.spent_micro_usd, image.saved_micro_usd, image.served) == (50, 0, 0)
    assert recomputed(owner_url)[:4] == [1, 1, 0, 50]
