"""Processed pictures from the coordinator to fal's STAND-IN: what is kept, refused, uploaded and paid for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import GenerationFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.support.memory_services import spent_of
from tests.support.processing_harness import Brought, photograph, processing_at

if TYPE_CHECKING:
    from copperplate.adapters.fal.processing import FalProcessing
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness, ProviderHarness

BRIA, SEEDVR, ESRGAN = "fal-ai/bria/background/remove", "fal-ai/seedvr/upscale/image", "fal-ai/esrgan"


@pytest.fixture
def fal(standin: Standin) -> FalProcessing:
    return processing_at(standin.url)


@pytest.fixture
def harness(fal: FalProcessing, open_harness: OpenHarness) -> ProviderHarness:
    return open_harness(fal, kind="processed")


async def test_hundred_at_once_over_four_processes_cost_one_upload_and_one_post(
    harness: ProviderHarness, standin: Standin, fal: FalProcessing
) -> None:
    processes = [harness.another_process() for _ in range(4)]
    asked = [Brought().request(fal, SEEDVR) for _ in range(100)]
    found = await asyncio.gather(*(processes[number % 4].find(each, GENERATE) for number, each in enumerate(asked)))
    assert len({each.entry for each in found}) == 1
    assert (found[0].entry.width, found[0].entry.height) == (128, 96)
    assert standin.scenario_log.posts[SEEDVR] == len(standin.scenario_log.uploads) == 1


@pytest.mark.parametrize("model", [BRIA, SEEDVR, ESRGAN])
async def test_what_fal_reports_is_what_is_spent(
    model: str, harness: ProviderHarness, standin: Standin, fal: FalProcessing
) -> None:
    request = Brought(photograph(600, 500)).request(fal, model)
    assert (await harness.coordinator.find(request, GENERATE)).outcome is Outcome.GENERATED
    spent = spent_of(harness.ledger, request.generation_key)
    assert spent == standin.scenario_log.bill()["fal"]["micro_usd"] > 0


async def test_result_smaller_than_asked_is_bad_output_and_is_paid_for(
    harness: ProviderHarness, standin: Standin, fal: FalProcessing
) -> None:
    standin.scenario_log.tell(SEEDVR, "capped")
    request = Brought().request(fal, SEEDVR)
    harness.coordinator._collector._look_seconds = 0.0  # no other result appears here
    with pytest.raises(GenerationFailed) as failed:
        await harness.coordinator.find(request, GENERATE)
    assert failed.value.failure_class is FailureClass.BAD_OUTPUT
    assert spent_of(harness.ledger, request.generation_key) == 1_000


async def test_result_cut_to_whole_blocks_is_kept_in_its_own_size(
    harness: ProviderHarness, standin: Standin, fal: FalProcessing
) -> None:
    standin.scenario_log.tell(SEEDVR, "in_blocks")
    found = await harness.coordinator.find(Brought(photograph(75, 53)).request(fal, SEEDVR, scale="1.5"), GENERATE)
    assert (found.entry.width, found.entry.height) == (112, 64)


async def test_lost_answer_costs_two_posts_and_one_upload(
    harness: ProviderHarness, standin: Standin, fal: FalProcessing
) -> None:
    standin.scenario_log.tell(BRIA, "drop", "ok")
    found = await harness.coordinator.find(Brought().request(fal, BRIA), GENERATE)
    assert found.outcome is Outcome.GENERATED
    assert (standin.scenario_log.posts[BRIA], len(standin.scenario_log.uploads)) == (2, 1)


async def test_upload_that_fails_is_no_call_and_costs_nothing(
    harness: ProviderHarness, standin: Standin, fal: FalProcessing
) -> None:
    for stage in ("storage:token", "storage:initiate"):
        standin.scenario_log.tell(stage, "http_500")
    request = Brought().request(fal, BRIA)
    with pytest.raises(GenerationFailed) as failed:
        await harness.coordinator.find(request, GENERATE)
    assert failed.value.failure_class is FailureClass.TRANSIENT
    # Not even begun: nothing that may be billed was recorded.
    assert harness.ledger._submits == []
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 0
    assert not spent_of(harness.ledger, request.generation_key)
    assert standin.scenario_log.posts[BRIA] == 0
