"""The breaker over several processes; its states are in the ledger's contract."""

from __future__ import annotations

import asyncio

import pytest

from copperplate.errors import GenerationFailed, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request


@pytest.mark.parametrize("every_seconds", [1, 10])
async def test_outage_of_ten_minutes_costs_at_most_twenty_five_calls(every_seconds: int) -> None:
    harness = CoordinatorHarness(failures=[ProviderFailed(FailureClass.TRANSIENT, "503") for _ in range(1_000)])
    processes = [harness.process() for _ in range(4)]
    kept = picture_request("stored before")
    harness.provider.failures, failures = [], harness.provider.failures
    await processes[0].find(kept, GENERATE)
    harness.provider.failures, harness.provider.submits = failures, 0
    for second in range(0, 600, every_seconds):
        asked = [
            process.find(picture_request(f"{second} {number}"), GENERATE) for number, process in enumerate(processes)
        ]
        refused = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, GenerationFailed) and each.http_status == 503 for each in refused)
        assert (await processes[0].find(kept, GENERATE)).outcome is Outcome.HIT
        await harness.clock.advance(every_seconds)
    assert 5 <= harness.provider.submits <= 25
    # It is noticed within two minutes that the provider is back.
    harness.provider.failures = []
    await harness.clock.advance(120)
    assert (await processes[1].find(picture_request("after"), GENERATE)).outcome is Outcome.GENERATED
    assert (await processes[2].find(picture_request("and after"), GENERATE)).outcome is Outcome.GENERATED
