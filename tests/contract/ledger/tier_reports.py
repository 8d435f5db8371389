"""What every ledger promises of the reports on tiers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.feed import Tier
from copperplate.model import Outcome
from copperplate.ports.tiers import TierFigures, TierSums
from tests.contract.ledger.harness import complete, request_count
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from typing import Any

    from tests.contract.ledger.harness import LedgerHarness

ONE, OTHER = UUID(int=1), UUID(int=2)
FOLDER = "f0" * 16
NOTHING = {
    tier: TierSums(tier=tier, places=0, entries=0, bytes=0, oldest_seconds=None, hits_today=0, served_bytes_today=0)
    for tier in (Tier.MEMORY, Tier.DISK, Tier.REDIS, Tier.STORAGE)
}


def figures(tier: Tier, entries: int, oldest_seconds: float | None, place: str = "") -> TierFigures:
    return TierFigures(tier=tier, entries=entries, bytes=entries * 2**33, oldest_seconds=oldest_seconds, place=place)


async def read(ledger: Any) -> dict[Tier, TierSums]:
    return {each.tier: each for each in await ledger.read_tiers()}


class TierReportContract:
    """Reports of all processes add up; what they share counts once."""

    async def test_without_reports_every_tier_is_empty(self, harness: LedgerHarness) -> None:
        assert await harness.ledger.read_tiers() == list(NOTHING.values())

    async def test_memory_adds_up_over_processes_and_a_shared_folder_counts_once(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.report_tiers(ONE, [figures(Tier.MEMORY, 2, 30.5), figures(Tier.DISK, 7, 600, FOLDER)])
        await ledger.report_tiers(OTHER, [figures(Tier.MEMORY, 3, 90), figures(Tier.DISK, 8, 700, FOLDER)])
        tiers = await read(ledger)
        assert {tier: (row.places, row.entries, row.bytes) for tier, row in tiers.items()} == {
            Tier.MEMORY: (2, 5, 5 * 2**33),
            Tier.DISK: (1, 8, 8 * 2**33),
            Tier.REDIS: (0, 0, 0),
            Tier.STORAGE: (0, 0, 0),
        }
        assert tiers[Tier.MEMORY].oldest_seconds == pytest.approx(90, abs=60)
        assert tiers[Tier.DISK].oldest_seconds == pytest.approx(700, abs=60)
        assert tiers[Tier.REDIS].oldest_seconds is None

    async def test_a_report_takes_the_place_of_the_last_one(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.report_tiers(ONE, [figures(Tier.MEMORY, 9, 900), figures(Tier.REDIS, 4, None, FOLDER)])
        await ledger.report_tiers(ONE, [figures(Tier.MEMORY, 0, None)])
        await ledger.report_tiers(ONE, [])
        tiers = await read(ledger)
        assert tiers[Tier.MEMORY] == replace(NOTHING[Tier.MEMORY], places=1)
        assert (tiers[Tier.REDIS].entries, tiers[Tier.REDIS].oldest_seconds) == (4, None)

    async def test_a_process_that_is_silent_for_five_minutes_is_forgotten(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.report_tiers(ONE, [figures(Tier.MEMORY, 9, 900)])
        await harness.advance(200)
        await ledger.report_tiers(OTHER, [figures(Tier.MEMORY, 1, 5)])
        assert (await read(ledger))[Tier.MEMORY].entries == 10
        await harness.advance(101)
        memory = (await read(ledger))[Tier.MEMORY]
        assert (memory.places, memory.entries) == (1, 1)
        assert memory.oldest_seconds == pytest.approx(106, abs=60)
        await ledger.report_tiers(OTHER, [figures(Tier.MEMORY, 2, 5)])
        assert (await read(ledger))[Tier.MEMORY].entries == 2

    async def test_hits_and_what_is_stored_are_told_by_tier(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await complete(ledger, picture_request())
        counted = [
            (Outcome.HIT, Tier.MEMORY, 5),
            (Outcome.STALE, Tier.MEMORY, 2),
            (Outcome.HIT, Tier.STORAGE, 3),
            (Outcome.GENERATED, Tier.PROVIDER, 1),
        ]
        await ledger.record_usage(
            [
                replace(request_count(picture_request(), outcome, count), tier=tier.value)
                for outcome, tier, count in counted
            ]
        )
        tiers = await read(ledger)
        assert {tier: row.hits_today for tier, row in tiers.items()} == {
            Tier.MEMORY: 7,
            Tier.DISK: 0,
            Tier.REDIS: 0,
            Tier.STORAGE: 3,
        }
        sent = request_count(picture_request(), Outcome.HIT, 7).size_bytes
        assert tiers[Tier.MEMORY].served_bytes_today == sent
        stored = await ledger.kind_stats("image")
        assert (tiers[Tier.STORAGE].entries, tiers[Tier.STORAGE].bytes) == (stored.pictures, stored.stored_bytes)
