"""`POST /api/process/{operation}`: who waits, who is promised a result, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from copperplate.api_keys import Scope
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import GatedProcessor
from tests.support.processing_http import (
    ALICE,
    CUT,
    EARLY,
    HASH,
    PICTURE,
    SECRET,
    UP,
    Gated,
    client,
    client_of,
    gated_application,
    is_problem,
    of,
    send,
    services,
)

__all__ = ["client", "services"]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx


@pytest.fixture
async def gated() -> AsyncIterator[Gated]:
    async with gated_application() as gated:
        yield gated


async def test_a_caller_who_need_not_wait_is_told_where_the_result_will_be(gated: Gated) -> None:
    answer = await send(gated.client, **EARLY, **of(ALICE))
    told = answer.json()
    assert (answer.status_code, told["status"], told["image_hash"]) == (202, "generating", HASH)
    assert answer.headers["location"] == f"/api/generations/{told['key']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert f"/api/generations/{told['key']}/events?token=" in told["events"]
    gated.processor.gate.set()
    hit = await send(gated.client)
    assert (hit.status_code, gated.processor.submits) == (200, 1)


async def test_a_wait_that_is_over_is_answered_202(gated: Gated) -> None:
    answer = await send(gated.client, prefer="wait=0")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


async def test_people_who_send_the_same_at_once_have_one_result_made(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    answers = await asyncio.gather(*(send(client) for _ in range(20)))
    assert len({answer.json()["key"] for answer in answers}) == 1
    assert services.processor.submits == 1


async def test_two_operations_on_one_file_do_not_wait_for_each_other() -> None:
    processor = GatedProcessor(gated=frozenset({"upscale"}))
    services = memory_services(processor=processor)
    async with client_of(services) as client:
        waiting = asyncio.create_task(send(client, UP))
        await processor.began.wait()
        assert (await send(client, CUT)).status_code == 200
        assert not waiting.done()
        processor.gate.set()
        assert (await waiting).status_code == 200
    await services.request_meter.close()


async def test_a_caller_who_may_have_nothing_made_costs_a_hash_and_a_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    services = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_ACCESS": "keys"})
    read_only = {"x-api-key": (await keep_key(services.ledger, Scope.PURGE)).text}
    async with client_of(services) as client:
        for body in (PICTURE, b"rubbish"):
            assert is_problem(await send(client, UP, body), 401, "access_denied")
            assert is_problem(await send(client, UP, body, **read_only), 403, "missing_scope")
        for named in ({"upload": "2026/11/x.png"}, {"url": "https://a.test/b.png"}):
            assert is_problem(await client.post(UP, json=named), 401, "access_denied")
        assert (services.cleaner.cleaned, services.processor.submits) == ([], 0)
        assert (services.ledger._sources, services.processed_store._objects) == ({}, {})
        await send(client, **of(ALICE))
        hit = await send(client)  # whoever has the bytes has the result
        assert (hit.status_code, hit.json()["cached"]) == (200, True)
        assert is_problem(await send(client, f"{UP}?scale=3"), 401, "access_denied")
        assert len(services.cleaner.cleaned) == 1
    await services.request_meter.close()


async def test_a_failure_is_answered_as_one(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.processor.failures = [ProviderFailed(FailureClass.INVALID, "no")]
    answer = await send(client)
    assert is_problem(answer, 422, "generation_failed"), answer.text


async def test_a_lost_result_is_made_anew_once(client: httpx.AsyncClient, services: MemoryServices) -> None:
    first = (await send(client)).json()
    services.processed_store._objects.clear()
    second = (await send(client)).json()
    assert (second["key"], second["cached"], services.processor.submits) == (first["key"], False, 2)
    assert (await send(client)).json()["cached"]
