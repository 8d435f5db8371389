"""Processes that share a real Valkey: one fills it, others answer from it, and a purge is not undone by a late SET."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.redis.copies import RedisCopies
from copperplate.adapters.redis.values import name_of
from copperplate.feed import Tier
from copperplate.model import Condition, Outcome
from copperplate.ports.tiers import Copy
from copperplate.testing import GENERATE
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers
from tests.support.feeds import read_feed
from tests.support.pictures import picture_request
from tests.support.redis_copies import redis_tier
from tests.support.serving_harness import ServingHarness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.redis_tier import RedisTier
    from copperplate.serving.renditions import Renditions
    from tests.support.valkey_server import Valkey

REQUEST = picture_request()
KEY = REQUEST.rendition_key


@dataclass(frozen=True, slots=True)
class Process:
    """One that has read the feed."""

    serving: Renditions
    tiers: Tiers
    redis: RedisTier


@pytest.fixture
def harness() -> ServingHarness:
    return ServingHarness()


@asynccontextmanager
async def _process(harness: ServingHarness, url: str) -> AsyncIterator[Process]:
    redis = redis_tier(url)
    memory = MemoryTier(harness.clock, max_pictures=9, max_bytes=1_000_000, max_age_seconds=3_600)
    tiers = Tiers(harness.ledger, harness.clock, memory=memory, shared=[redis])
    await read_feed(tiers.coherence)
    try:
        yield Process(harness.server(harness.process(tiers=tiers), tiers), tiers, redis)
    finally:
        await tiers.close()


async def test_another_process_answers_with_one_read_of_the_store_and_then_none(
    harness: ServingHarness, valkey: Valkey
) -> None:
    async with _process(harness, valkey.url) as first, _process(harness, valkey.url) as second:
        made = await first.serving.read(REQUEST, GENERATE)
        await first.tiers.shut_down(within_seconds=5)  # what is kept behind the answer
        valkey.forget_calls()
        answers = [await second.serving.read(REQUEST, GENERATE) for _ in range(3)]
        assert {each.body for each in answers} == {made.body}
        assert [each.tier for each in answers] == [Tier.REDIS, Tier.MEMORY, Tier.MEMORY]
        assert harness.objects.gets == {"jpg": 1}
        # What was found there is not written there again: it ends two hours after it was right.
        assert (valkey.calls("getrange"), valkey.calls("set")) == (1, 0)


@pytest.mark.parametrize("is_away", [False, True])
async def test_without_redis_pictures_are_served_as_ever(
    harness: ServingHarness, own_valkey: Valkey, *, is_away: bool
) -> None:
    async with _process(harness, own_valkey.url) as first, _process(harness, own_valkey.url) as second:
        made = await first.serving.read(REQUEST, GENERATE)
        await first.tiers.shut_down(within_seconds=5)
        own_valkey.ask.flushall()
        if is_away:
            own_valkey.stop()
        again = await second.serving.read(REQUEST, GENERATE)
        assert (again.body, again.outcome) == (made.body, Outcome.HIT)
        assert again.tier is not Tier.REDIS
        assert harness.provider.submits == 1


async def test_purge_is_not_undone_by_what_is_kept_after_it(harness: ServingHarness, valkey: Valkey) -> None:
    async with _process(harness, valkey.url) as late, _process(harness, valkey.url) as other:
        made = await late.serving.read(REQUEST, GENERATE)
        fill = late.tiers.begin_fill()
        assert fill is not None
        assert made.body is not None
        old = Copy(entry=made.entry, cursor=fill.cursor, database=fill.database, body=made.body)
        await harness.ledger.purge(Condition(key=REQUEST.generation_key), 10, is_dry_run=False)
        async with RedisCopies(valkey.url, database=fill.database) as copies:
            assert (await copies.remove([REQUEST.generation_key])).entries >= 1
        # The process that was frozen in the middle of its fill goes on now.
        await late.redis.keep(old, REQUEST)
        assert valkey.ask.exists(name_of(KEY, fill.database)) == 1
        await read_feed(other.tiers.coherence)
        assert await other.tiers.find(REQUEST) is None
        assert valkey.ask.exists(name_of(KEY, fill.database)) == 0
        again = await other.serving.read(REQUEST, GENERATE)
        assert again.outcome is Outcome.GENERATED
        assert harness.provider.submits == 2


async def test_copies_in_redis_alone_can_be_declared_wrong(harness: ServingHarness, valkey: Valkey) -> None:
    async with _process(harness, valkey.url) as first, _process(harness, valkey.url) as second:
        await first.serving.read(REQUEST, GENERATE)
        await first.tiers.shut_down(within_seconds=5)
        await harness.ledger.invalidate((Tier.REDIS,), None)
        await read_feed(first.tiers.coherence)
        await read_feed(second.tiers.coherence)
        assert (await first.serving.read(REQUEST, GENERATE)).tier is Tier.MEMORY
        assert (await second.serving.read(REQUEST, GENERATE)).tier is not Tier.REDIS
        assert harness.provider.submits == 1


async def test_entry_whose_object_is_gone_is_dropped_and_made_again(harness: ServingHarness, valkey: Valkey) -> None:
    async with _process(harness, valkey.url) as first, _process(harness, valkey.url) as second:
        made = await first.serving.read(REQUEST, GENERATE)
        await first.tiers.shut_down(within_seconds=5)
        harness.objects.alter(made.entry)
        again = await second.serving.read(REQUEST, GENERATE)
        assert again.body == made.body
        assert again.entry.path != made.entry.path
        assert harness.provider.submits == 1
