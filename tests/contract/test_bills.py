"""What the ledger says was spent, beside the stand-in's bill: to the unit where the service told, never below it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import GenerationFailed, StillGenerating
from copperplate.testing import GENERATE
from tests.support.memory_services import spent_of
from tests.support.provider_harness import provider_at, request_of

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness, ProviderHarness

# The service told what it bills, of a picture or of what is none.
TOLD = {
    "fal": ["ok", "nsfw", "two_images", "no_images", "truncated_png", "black", "data_url"],
    "openai": ["ok", "two_images", "no_images", "bytes_not_base64", "truncated_png", "black"],
}
# It drew, and we did not hear of it, or heard no amount.
UNHEARD = {
    "fal": ["drop", "receipt_html", "result_html", "result_404", "file_404"],
    "openai": ["drop", "usage_missing"],
}
# A gateway answered in its place. Nobody can know what the service did; the stand-in did nothing.
GATEWAY = {"fal": ["http_502_html", "empty_answer"], "openai": ["http_502_html", "broken_json", "html_answer"]}
# Its own refusal, or a job that failed in its own words.
REFUSED = {
    "fal": ["moderated", "http_422", "http_429", "http_500", "job_moderated", "job_500"],
    "openai": ["moderated", "http_400", "http_429", "http_500"],
}


# How long what is no whole picture is fetched anew; nothing is billed for that.
LOOK = timedelta(seconds=0.5)


def cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, scenario) for name, scenarios in table.items() for scenario in scenarios]


def wish(harness: ProviderHarness, scenario: str, number: int = 0) -> PictureRequest:
    """A picture of two started megapixels, so that units differ from pictures."""
    return request_of(harness.provider, f"a fox of {number} [{scenario}]", width=1280, height=1280)


async def ask(harness: ProviderHarness, picture_request: PictureRequest) -> None:
    with contextlib.suppress(GenerationFailed, StillGenerating):
        await harness.coordinator.find(picture_request, GENERATE)


def spent(harness: ProviderHarness, picture_request: PictureRequest) -> int | None:
    return spent_of(harness.ledger, picture_request.generation_key)


def estimate(harness: ProviderHarness, picture_request: PictureRequest) -> int:
    price = harness.provider.price_micro_usd(picture_request.recipe)
    assert price is not None
    return price


@pytest.mark.parametrize(("name", "scenario"), cases(TOLD))
async def test_what_the_service_told_is_spent_to_the_unit(
    name: str, scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(name, standin), look=LOOK)
    picture_request = wish(harness, scenario)
    await ask(harness, picture_request)
    assert spent(harness, picture_request) == standin.scenario_log.bill()[name]["micro_usd"] > 0


@pytest.mark.parametrize(("name", "scenario"), cases(UNHEARD))
async def test_what_was_lost_is_spent_as_estimated_once_a_post_and_not_below_the_bill(
    name: str, scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(name, standin))
    picture_request = wish(harness, scenario)
    await ask(harness, picture_request)
    assert spent(harness, picture_request) == estimate(harness, picture_request) * standin.scenario_log.posts.total()
    assert (
        estimate(harness, picture_request)
        >= max(drawing.charge_micro_usd for drawing in standin.scenario_log.drawings.values())
        > 0
    )


@pytest.mark.parametrize(("name", "scenario"), cases(GATEWAY))
async def test_what_a_gateway_answered_is_spent_as_estimated(
    name: str, scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(name, standin))
    picture_request = wish(harness, scenario)
    await ask(harness, picture_request)
    assert spent(harness, picture_request) == estimate(harness, picture_request) * standin.scenario_log.posts.total()
    assert standin.scenario_log.bill() == {}


@pytest.mark.parametrize(("name", "scenario"), cases(REFUSED))
async def test_what_the_service_refused_is_neither_spent_nor_billed(
    name: str, scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(name, standin))
    picture_request = wish(harness, scenario)
    await ask(harness, picture_request)
    assert spent(harness, picture_request) == 0
    assert sum(drawing.charge_micro_usd for drawing in standin.scenario_log.drawings.values()) == 0


@pytest.mark.parametrize("name", ["fal", "openai"])
async def test_spending_on_mixed_outcomes_is_the_bill_to_the_unit(
    name: str, standin: Standin, open_harness: OpenHarness
) -> None:
    """Two hundred outcomes, twenty at a time: the bill, with the estimate where the service was not heard."""
    harness = open_harness(provider_at(name, standin), look=LOOK)
    chance = random.Random(1)
    scenarios = [*TOLD[name], *UNHEARD[name], *GATEWAY[name], "moderated", "http_429"]
    picture_requests = [wish(harness, chance.choice(scenarios), number) for number in range(200)]
    limit = asyncio.Semaphore(20)

    async def limited(picture_request: PictureRequest) -> None:
        async with limit:
            await ask(harness, picture_request)

    await asyncio.gather(*map(limited, picture_requests))
    silent = tuple(f"[{scenario}]" for scenario in (*UNHEARD[name], *GATEWAY[name]))
    unheard = [
        picture_request
        for picture_request in picture_requests
        if str(picture_request.recipe["prompt"]).endswith(silent)
    ]
    heard = sum(
        each.charge_micro_usd for each in standin.scenario_log.drawings.values() if not each.prompt.endswith(silent)
    )
    estimated = sum(
        estimate(harness, picture_request) * standin.scenario_log.posts[str(picture_request.recipe["prompt"])]
        for picture_request in unheard
    )
    total = sum(spent(harness, picture_request) or 0 for picture_request in picture_requests)
    assert total == heard + estimated
    assert total >= standin.scenario_log.bill()[name]["micro_usd"]
