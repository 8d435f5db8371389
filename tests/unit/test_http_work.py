"""`/api/work` and the cron: operators alone start a step, and it spends what the wish may spend."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest

from copperplate.access.caller import Caller
from copperplate.adapters.memory.clock import FakeClock
from copperplate.api_keys import Scope
from copperplate.errors import LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.http.app import create_app
from copperplate.wishes import WishStatus
from copperplate.work.promises import new_wish
from copperplate.work.step import Report
from tests.support.api_keys import keep_key
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.memory_services import MemoryServices, client, memory_services
from tests.support.pictures import picture_request

__all__ = ["client"]

CRON_SECRET: Final = "sixteen characters or more"
CRON: Final = {"authorization": f"Bearer {CRON_SECRET}"}
NOTHING: Final = {"made": 0, "failed": 0, "put_back": 0}


@pytest.fixture
def services() -> MemoryServices:
    return memory_services(environ={"CRON_SECRET": CRON_SECRET})


async def wish(services: MemoryServices, *prompts: str) -> None:
    """A stranger was promised these, and nobody makes them."""
    for request in map(picture_request, prompts):
        options = LookupOptions(permit=services.gate.permit(Caller(address="192.0.2.1"), request))
        await services.ledger.make_wish(new_wish(request, options, owner="anonymous"), held_for=timedelta(0))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_step_makes_what_is_due_and_says_what_it_did(
    client: httpx.AsyncClient, services: MemoryServices, method: str
) -> None:
    await wish(services, "a fox", "an owl")
    answer = await client.request(method, "/api/work", headers=CRON)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {"success": True, **NOTHING, "made": 2}
    assert (await client.request(method, "/api/work", headers=CRON)).json() == {"success": True, **NOTHING}
    assert services.image_provider.submits == 2


async def test_operators_alone_start_a_step(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await wish(services, "a fox")
    key = (await keep_key(services.ledger)).text
    admin = (await keep_key(services.ledger, Scope.ADMIN)).text
    asked: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({"authorization": "Bearer something else"}, 401),
        ({"authorization": f"Bearer {key}"}, 403),
    ]
    for headers, status in asked:
        assert (await client.post("/api/work", headers=headers)).status_code == status
    assert services.image_provider.submits == 0
    answer = await client.post("/api/work", headers={"authorization": f"Bearer {admin}"})
    assert (answer.status_code, answer.json()["made"]) == (200, 1)


async def test_what_is_not_known_is_refused_before_anything_is_made(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await wish(services, "a fox")
    assert (await client.post("/api/work?limit=1", headers=CRON)).json()["code"] == "unknown_parameter"
    assert (await client.post("/api/work", headers=CRON, json={"limit": 1})).json()["code"] == "unknown_parameter"
    assert (await client.post("/api/work", headers=CRON, json={})).json()["made"] == 1


async def test_a_database_that_is_away_is_said(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(**_: Any) -> Any:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(services.ledger, "take_wishes", refuse)
    answer = await client.post("/api/work", headers=CRON)
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    cleaned = await client.get("/api/cache/cleanup", headers=CRON)
    assert (cleaned.status_code, cleaned.json()["work"]) == (200, None)


async def test_the_cron_works_too_and_a_dry_run_does_not(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await wish(services, "a fox")
    assert (await client.get("/api/cache/cleanup?dry_run=true", headers=CRON)).status_code == 200
    assert services.image_provider.submits == 0
    answer = await client.get("/api/cache/cleanup", headers=CRON)
    assert (answer.status_code, answer.json()["work"]) == (200, {**NOTHING, "made": 1})


async def test_a_wish_is_refused_by_the_wall_of_today() -> None:
    services = memory_services(environ={"COPPERPLATE_DAILY_BUDGET_USD": "0"})
    await wish(services, "a fox")
    report = await services.work.run(within_seconds=60)
    assert (report.failed, services.image_provider.submits) == (1, 0)
    [row] = services.ledger._wishes.values()
    assert (row.status, row.code) == (WishStatus.FAILED, "spending_refused")


async def test_a_stranger_gets_no_more_than_the_share_of_the_address_while_the_provider_fails() -> None:
    clock = FakeClock()
    limit = ProviderFailed(FailureClass.RATE_LIMITED, "slow", billed=False)
    provider = ScriptedProvider(clock, seconds=5, failures=[limit] * 4)
    # A picture costs $0.003: an address has room for one.
    services = memory_services(clock=clock, provider=provider, environ={"COPPERPLATE_DAILY_BUDGET_USD": "0.10"})
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        for number in range(4):
            told = await client.get(f"/64x64.jpg?text=fox{number}", headers={"prefer": "respond-async"})
            assert told.status_code == 202
            await clock.advance(6)
    assert {row.code for row in services.ledger._wishes.values()} == {"rate_limited"}
    await clock.advance(3_600)
    step = asyncio.create_task(services.work.run(within_seconds=60))
    await clock.advance(60)
    assert await step == Report()
    assert provider.submits == 4
