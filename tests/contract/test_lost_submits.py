"""Providers that take a submit and never answer: one POST per number, at most two, then rest for a day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import GenerationFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.standin.drawings import number_of
from tests.support.provider_harness import provider_at, request_of

if TYPE_CHECKING:
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness, ProviderHarness

PROMPT = "a red fox"


@pytest.fixture(params=["fal", "openai"])
def harness(request: pytest.FixtureRequest, standin: Standin, open_harness: OpenHarness) -> ProviderHarness:
    return open_harness(provider_at(request.param, standin))


async def test_answer_that_is_lost_once_costs_two_posts_and_gives_the_second_picture(
    harness: ProviderHarness, standin: Standin
) -> None:
    standin.scenario_log.tell(PROMPT, "drop", "ok")
    # At the provider's own size a png of it is not scaled, so the number survives.
    found = await harness.coordinator.find(request_of(harness.provider, PROMPT, width=1024, height=1024), GENERATE)
    assert found.outcome is Outcome.GENERATED
    assert found.body is not None
    assert number_of(found.body) == 2
    assert standin.scenario_log.posts == {PROMPT: 2}
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 2


async def test_answers_that_are_always_lost_cost_two_posts_a_day_however_many_ask(
    harness: ProviderHarness, standin: Standin
) -> None:
    standin.scenario_log.tell(PROMPT, "drop")
    asked = request_of(harness.provider, PROMPT)
    processes = [harness.coordinator, *(harness.another_process() for _ in range(3))]
    for _ in range(5):
        user_requests = [process.find(asked, GENERATE) for process in processes for _ in range(25)]
        failures = await asyncio.gather(*user_requests, return_exceptions=True)
        assert all(isinstance(each, GenerationFailed) for each in failures)
        assert {each.failure_class for each in failures if isinstance(each, GenerationFailed)} == {
            FailureClass.AMBIGUOUS
        }
    assert standin.scenario_log.posts == {PROMPT: 2}


async def test_refused_prompt_costs_one_post_however_many_ask(harness: ProviderHarness, standin: Standin) -> None:
    standin.scenario_log.tell(PROMPT, "moderated")
    asked = request_of(harness.provider, PROMPT)
    for _ in range(50):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(asked, GENERATE)
        assert failed.value.http_status == 422
    assert standin.scenario_log.posts == {PROMPT: 1}
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 0


async def test_hundred_at_once_over_four_processes_cost_one_post(harness: ProviderHarness, standin: Standin) -> None:
    asked = request_of(harness.provider, PROMPT)
    processes = [harness.another_process() for _ in range(4)]
    found = await asyncio.gather(*(process.find(asked, GENERATE) for process in processes for _ in range(25)))
    assert len({each.entry for each in found}) == 1
    assert standin.scenario_log.posts == {PROMPT: 1}
