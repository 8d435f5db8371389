"""What every ledger promises of counted requests, and of the description of its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.model import LATENCY_BOUNDS_MS, SCHEMA, Outcome
from copperplate.schema_check import Schema
from tests.contract.ledger.harness import complete, lead, record, request_count
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class StatisticsContract:
    """Counts of requests add up, by outcome."""

    async def test_usage_adds_up(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        original = await complete(ledger, picture_request())
        await record(ledger, original, picture_request(), "jpg")
        await ledger.record_usage(
            [
                request_count(picture_request(), Outcome.GENERATED, 1),
                request_count(picture_request(), Outcome.COALESCED, 9),
            ]
        )
        await ledger.record_usage(
            [
                request_count(picture_request(), Outcome.HIT, 5),
                request_count(picture_request("failed"), Outcome.FAILED, 2),
            ]
        )
        stats = await ledger.generation_stats()
        assert (stats.total_requests, stats.total_api_calls_made, stats.total_api_calls_saved) == (17, 1, 14)
        assert stats.efficiency_percent == 93.3
        cache = await ledger.kind_stats("image")
        assert (cache.pictures, cache.accesses) == (1, 15)

    async def test_totals_add_up_by_outcome_with_their_times(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await lead(ledger, picture_request())
        await ledger.record_usage(
            [request_count(picture_request(), Outcome.HIT, 5), request_count(picture_request("other"), Outcome.HIT, 2)]
        )
        await ledger.record_usage([request_count(picture_request(), Outcome.GENERATED, 1)])
        totals = await ledger.usage_totals()
        sums = {row.outcome: row for row in totals.usage}
        assert (sums["hit"].requests, sums["hit"].bytes) == (7, 7_000)
        assert sums["generated"].requests == 1
        latency = {row.outcome: list(row.buckets) for row in totals.latency}
        assert latency["hit"] == [7, *(0 for _ in LATENCY_BOUNDS_MS)]
        assert (totals.in_flight, totals.discarded) == (1, 0)

    async def test_a_generation_whose_lease_ran_out_is_not_in_flight(self, harness: LedgerHarness) -> None:
        await lead(harness.ledger, picture_request())
        await harness.advance(21)
        assert (await harness.ledger.usage_totals()).in_flight == 0

    async def test_a_batch_that_is_sent_again_counts_once(self, harness: LedgerHarness) -> None:
        ledger, batch = harness.ledger, uuid4()
        for _ in range(3):
            await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 5)], batch=batch)
        assert (await ledger.generation_stats()).total_requests == 5
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 5)], batch=uuid4())
        assert (await ledger.generation_stats()).total_requests == 10

    async def test_empty_batch_of_usage_changes_nothing(self, harness: LedgerHarness) -> None:
        await harness.ledger.record_usage([])
        assert (await harness.ledger.generation_stats()).total_requests == 0


class SetupContract:
    """The ledger describes the schema that is installed."""

    async def test_setup_names_the_schema_this_program_was_written_for(self, harness: LedgerHarness) -> None:
        setup = await harness.ledger.check_setup()
        assert setup["schema"] == SCHEMA
        assert float(setup["now"]) > 0
        assert setup["buckets"] is None or isinstance(setup["buckets"], dict)

    async def test_schema_is_as_this_program_was_shipped_with_it(self, harness: LedgerHarness) -> None:
        shipped = Schema.shipped()
        assert shipped.compare(await harness.ledger.describe_schema(shipped.public_names)) == []
