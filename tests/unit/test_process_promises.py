"""Processing that nobody waits for, and who is told what became of it; and credits that pay for it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from copperplate.budgets import Credits
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import GatedProcessor
from tests.support.processing_http import (
    ALICE,
    BOB,
    FACE,
    HASH,
    PICTURE,
    SECRET,
    UP,
    client_of,
    is_problem,
    of,
    send,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

EARLY = {"prefer": "respond-async"}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(
        processor=GatedProcessor(),
        environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_PROCESS_CREDITS": "face-detail=3"},
    )
    yield made
    assert isinstance(made.processor, GatedProcessor)
    made.processor.gate.set()
    await made.shut_down(within_seconds=5)
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


def let_go(services: MemoryServices) -> None:
    assert isinstance(services.processor, GatedProcessor)
    services.processor.gate.set()


async def completed(client: httpx.AsyncClient, where: str, headers: dict[str, str]) -> httpx.Response:
    """The answer to a look, once the generation has ended."""
    while (answer := await client.get(where, headers=headers)).json()["status"] in ("pending", "generating"):
        await asyncio.sleep(0)
    return answer


async def test_its_location_tells_owners_what_became_of_it(client: httpx.AsyncClient, services: MemoryServices) -> None:
    promised = await send(client, **EARLY, **of(ALICE))
    where = promised.headers["location"]
    under_way = await client.get(where, headers=of(ALICE))
    assert (under_way.json()["status"], under_way.json()["url"]) == ("generating", None)
    assert "events?token=" in under_way.json()["events"]
    for headers in ({}, of(BOB)):
        assert is_problem(await client.get(where, headers=headers), 404, "not_found")
    let_go(services)
    told = (await completed(client, where, of(ALICE))).json()
    assert (told["status"], told["kind"], told["events"]) == ("completed", "processed", None)
    assert told["url_expires_at"].endswith("Z")
    assert (await client.get(told["url"])).content == b"picture 1"
    for headers in ({}, of(BOB)):
        assert is_problem(await client.get(where, headers=headers), 404, "not_found")


async def test_its_events_are_for_owners_and_tokens(client: httpx.AsyncClient, services: MemoryServices) -> None:
    key = {"x-api-key": (await keep_key(services.ledger)).text}
    promised = (await send(client, UP, PICTURE, x_api_key=key["x-api-key"], **EARLY)).json()
    plain = promised["events"].partition("?")[0]
    let_go(services)
    while services.processor.submits == 0:
        await asyncio.sleep(0)
    for address, headers in ((promised["events"], {}), (plain, key)):
        told = await client.get(address, headers=headers)
        last = json.loads(told.text.strip().rpartition("data: ")[2])
        assert last["status"] == "completed"
        assert (await client.get(last["url"])).content == b"picture 1"
    for address, headers in ((plain, {}), (plain, of(BOB)), (f"{plain}?token=x", key)):
        assert (await client.get(address, headers=headers)).status_code in (403, 404)


async def test_a_failure_is_told_to_its_owner(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.processor.failures = [ProviderFailed(FailureClass.INVALID, "no")]
    promised = await send(client, **EARLY, **of(ALICE))
    let_go(services)
    told = (await completed(client, promised.headers["location"], of(ALICE))).json()
    assert (told["status"], told["error"]["code"], told["url"]) == ("failed", "invalid", None)


async def test_a_promise_survives_the_process_that_gave_it(client: httpx.AsyncClient, services: MemoryServices) -> None:
    promised = (await send(client, **EARLY, **of(ALICE))).json()
    known = await services.ledger.find_source(HASH, owner=None)
    assert known is not None
    assert known.kept_input is not None
    kept = await services.processed_store.get(known.kept_input.path)
    assert kept == b"clean " + PICTURE
    let_go(services)
    await services.promises.shut_down(within_seconds=0)  # put back, as at the end of a process
    await services.work.run(within_seconds=5)
    told = await completed(client, f"/api/generations/{promised['key']}", of(ALICE))
    assert told.json()["status"] == "completed"


async def credits_of(services: MemoryServices) -> Credits:
    return await services.ledger.credits(ALICE)


async def test_a_signed_in_user_pays_credits_once_for_many_at_once(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await services.ledger.grant_credits(ALICE, 10, "g")
    let_go(services)
    answers = await asyncio.gather(*(send(client, FACE, **of(ALICE)) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["credits_left"] for answer in answers} == {7}
    assert (await send(client, FACE, **of(ALICE))).json()["credits_left"] == 7  # a hit is free
    assert (await credits_of(services), services.processor.submits) == (Credits(balance=7, held=0), 1)
    # Other operations have no price in credits.
    assert (await send(client, UP, **of(ALICE))).json()["credits_left"] is None
    assert await credits_of(services) == Credits(balance=7, held=0)


async def test_credits_come_back_where_it_fails(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await services.ledger.grant_credits(ALICE, 3, "g")
    services.processor.failures = [ProviderFailed(FailureClass.INVALID, "no")]
    let_go(services)
    assert (await send(client, FACE, **of(ALICE))).status_code == 422
    assert await credits_of(services) == Credits(balance=3, held=0)


async def test_without_enough_credits_nothing_is_made_and_a_hit_is_free(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await services.ledger.grant_credits(ALICE, 2, "g")
    let_go(services)
    refused = await send(client, FACE, **of(ALICE))
    assert is_problem(refused, 402, "not_enough_credits")
    assert services.processor.submits == 0
    key = (await keep_key(services.ledger)).text
    by_key = (await send(client, FACE, x_api_key=key)).json()  # from its budget
    assert (by_key["cached"], by_key["credits_left"]) == (False, None)
    hit = (await send(client, FACE, **of(ALICE))).json()
    assert (hit["cached"], hit["credits_left"]) == (True, 2)


async def test_a_result_that_is_taken_down_is_gone_for_everybody(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    let_go(services)
    key = (await send(client, UP, **of(ALICE))).json()["key"]
    await services.ledger.take_down(key, reason="test")
    assert is_problem(await send(client, UP, **of(ALICE)), 410, "taken_down")
    for headers in ({}, of(ALICE)):
        assert (await client.get(f"{UP}/{HASH}", headers=headers)).status_code in (404, 410)
        assert (await client.get(f"/api/generations/{key}", headers=headers)).status_code == 410
