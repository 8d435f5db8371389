"""Figures of a purge of tiers: what is counted where, and what is dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.feed import Tier
from copperplate.model import Condition
from copperplate.operations.purge_tiers import TierPurge, purge_tiers
from copperplate.ports.tiers import TierFigures
from tests.contract.ledger.harness import complete
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass
class Found:
    entries: int = 2
    bytes: int = 300


@dataclass
class Redis:
    """What was asked of a Redis."""

    counted: list[Collection[str] | None] = field(default_factory=list)
    removed: list[Collection[str] | None] = field(default_factory=list)

    async def count(self, generation_keys: Collection[str] | None) -> Found:
        self.counted.append(generation_keys)
        return Found()

    async def remove(self, generation_keys: Collection[str] | None) -> Found:
        self.removed.append(generation_keys)
        return Found()


@pytest.fixture
async def ledger() -> MemoryLedger:
    """Two pictures, and two processes of which each reported 40 copies."""
    clock = FakeClock()
    ledger = MemoryLedger(clock)
    for prompt in ("one", "two"):
        await complete(ledger, picture_request(prompt), prompt)
    await clock.advance(1)
    for _ in range(2):
        figures = TierFigures(tier=Tier.MEMORY, entries=40, bytes=40_000, oldest_seconds=None)
        await ledger.report_tiers(uuid4(), [figures])
    return ledger


def asked(*tiers: Tier, condition: Condition | None = None) -> TierPurge:
    return TierPurge(tiers=frozenset(tiers), condition=condition)


async def test_of_memory_there_is_at_most_what_was_reported(ledger: MemoryLedger) -> None:
    figures = await purge_tiers(ledger, asked(Tier.MEMORY, Tier.DISK), is_dry_run=True)
    assert figures["memory"] == {"entries": 80, "bytes": 80_000, "places": 2, "reported_seconds_ago": 0.0}
    # Of a tier that nobody reported there is at most what the ledger has.
    assert figures["disk"] == {"entries": 2, "bytes": 2_000, "places": None, "reported_seconds_ago": None}


async def test_of_some_pictures_each_place_has_at_most_a_copy(ledger: MemoryLedger) -> None:
    figures = await purge_tiers(ledger, asked(Tier.MEMORY, condition=Condition(prompt="one")), is_dry_run=True)
    assert (figures["memory"]["entries"], figures["memory"]["bytes"]) == (2, 2_000)


async def test_redis_is_counted_by_a_dry_run_and_emptied_by_a_real_one(ledger: MemoryLedger) -> None:
    redis, keys = Redis(), (picture_request("one").generation_key,)
    one = asked(Tier.REDIS, condition=Condition(prompt="one"))
    for is_dry_run in (True, False):
        figures = await purge_tiers(ledger, one, is_dry_run=is_dry_run, redis=redis)
        assert figures == {"redis": {"entries": 2, "bytes": 300}}
    assert (redis.counted, redis.removed) == ([keys], [keys])
    await purge_tiers(ledger, asked(Tier.REDIS), is_dry_run=False, redis=redis)
    assert redis.removed[1] is None
    assert (await purge_tiers(ledger, asked(Tier.REDIS), is_dry_run=True))["redis"]["entries"] == 0


async def test_storage_alone_declares_no_copies_wrong_but_by_removing_pictures(ledger: MemoryLedger) -> None:
    before = await ledger.read_feed(None, None)
    storage = asked(Tier.STORAGE, condition=Condition(prompt="one"))
    counted = await purge_tiers(ledger, storage, is_dry_run=True)
    assert await purge_tiers(ledger, storage, is_dry_run=False) == counted
    assert (counted["storage"]["generations"], counted["storage"]["bytes"]) == (1, 1_000)
    told = (await ledger.read_feed(before.cursor, before.database)).invalidations
    assert {each.tier for each in told} == {None}
    assert (await purge_tiers(ledger, asked(Tier.STORAGE), is_dry_run=False))["storage"]["generations"] == 1


async def test_of_cdns_pictures_and_objects_are_counted(ledger: MemoryLedger) -> None:
    figures = await purge_tiers(ledger, asked(Tier.CDN), is_dry_run=True)
    assert figures == {"cdn": {"keys": 2, "objects": 2, "is_everything": True}}
    unknown = Condition(key="0" * 64)
    figures = await purge_tiers(ledger, asked(Tier.CDN, condition=unknown), is_dry_run=False)
    assert figures == {"cdn": {"keys": 1, "objects": 0, "is_everything": False}}
