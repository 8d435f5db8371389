"""What a process holds of pictures while they are brought: one copy of each, none once nobody needs it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from copperplate.access.object_tokens import name_upload
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import MAX_PICTURE_BYTES
from copperplate.processing import upload_budget
from copperplate.processing.upload_budget import UploadBudget
from copperplate.source_errors import TooManyUploads
from tests.support.memory_services import memory_services
from tests.support.processing import GatedProcessor
from tests.support.processing_http import ALICE, EARLY, PNG, SECRET, UP, client_of, of, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from copperplate.model import CleanPicture
    from tests.support.memory_services import MemoryServices

PEOPLE = 100
BIG = b"\x89PNG" + bytes(1 << 20)


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(processor=GatedProcessor(), environ={"SUPABASE_JWT_SECRET": SECRET})
    yield made
    processor_of(made).gate.set()
    await made.shut_down(within_seconds=5)
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


def processor_of(services: MemoryServices) -> GatedProcessor:
    assert isinstance(services.processor, GatedProcessor)
    return services.processor


def budget_of(services: MemoryServices) -> UploadBudget:
    return services.processing.sources.budget


async def held_after(services: MemoryServices) -> int:
    """What is held once nothing is under way, or after a second."""
    for _ in range(100):
        services.processor.inputs.clear()  # the stand-in remembers what it was given
        if budget_of(services).held_bytes == 0:
            break
        await asyncio.sleep(0.01)
    return budget_of(services).held_bytes


@pytest.mark.parametrize("preference", [{}, EARLY])
async def test_a_crowd_with_one_file_costs_one_decoding_one_copy_in_memory_and_one_in_the_store(
    services: MemoryServices, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, preference: dict[str, str]
) -> None:
    store, put, clean = services.processed_store, services.processed_store.put, services.cleaner.clean
    puts: list[str] = []

    async def slow_clean(body: bytes) -> CleanPicture:
        await asyncio.sleep(0.05)
        return await clean(body)

    async def slow_put(path: str, body: bytes, *, media_type: str) -> None:
        puts.append(path)
        await asyncio.sleep(0.02)
        await put(path, body, media_type=media_type)

    monkeypatch.setattr(store, "put", slow_put)
    monkeypatch.setattr(services.cleaner, "clean", slow_clean)
    budget = services.processing.sources.budget = UploadBudget(max_held_bytes=5 * len(BIG))
    asked = [asyncio.create_task(send(client, UP, BIG, **preference)) for _ in range(PEOPLE)]
    if not preference:
        await processor_of(services).began.wait()
        async with asyncio.timeout(20):
            while budget.held_bytes > 1.1 * len(BIG):
                await asyncio.sleep(0.01)
        assert not any(task.done() for task in asked)
        processor_of(services).gate.set()
    answers = await asyncio.gather(*asked)
    assert Counter(answer.status_code for answer in answers) == {202 if preference else 200: PEOPLE}
    assert len(services.cleaner.cleaned) == 1
    assert len(puts) == 1
    assert await held_after(services) == 0


async def test_of_what_is_promised_nothing_stays_in_memory(services: MemoryServices, client: httpx.AsyncClient) -> None:
    for number in range(3):
        assert (await send(client, UP, BIG + b"%d" % number, **EARLY)).status_code == 202
    assert await held_after(services) == 0


async def test_what_its_sender_no_longer_waits_for_is_counted_until_it_is_made(
    services: MemoryServices, client: httpx.AsyncClient
) -> None:
    asking = asyncio.create_task(send(client, UP, BIG))
    await processor_of(services).began.wait()
    asking.cancel()
    await asyncio.wait((asking,))
    del asking  # its traceback has what the request had
    assert budget_of(services).held_bytes >= len(BIG)
    processor_of(services).gate.set()
    assert await held_after(services) == 0


@pytest.mark.parametrize("body", [b"rubbish" + BIG, BIG])
async def test_what_ends_in_an_error_is_let_go(
    services: MemoryServices, client: httpx.AsyncClient, body: bytes
) -> None:
    services.processor.failures = [ProviderFailed(FailureClass.BAD_OUTPUT, "no picture")]
    processor_of(services).gate.set()
    assert (await send(client, UP, body)).status_code in (400, 502)
    assert await held_after(services) == 0


async def test_direct_uploads_are_read_once_there_is_room_for_them(
    services: MemoryServices, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.processed_store
    secret, owner = await store.address_secret(), f"user:{ALICE}"
    under_way: list[int] = []

    async def slow_get(path: str) -> bytes:
        under_way.append(budget_of(services).held_bytes)
        await asyncio.sleep(0.01)
        return b"\x89PNG" + path.encode()

    monkeypatch.setattr(store, "get", slow_get)
    processor_of(services).gate.set()
    names = [name_upload(secret, owner, now=datetime.now(UTC), ending="png") for _ in range(12)]
    answers = await asyncio.gather(*(client.post(UP, json={"upload": name}, headers=of(ALICE)) for name in names))
    assert Counter(answer.status_code for answer in answers) == {200: len(names)}
    assert MAX_PICTURE_BYTES <= max(under_way) <= budget_of(services).max_held_bytes
    monkeypatch.setattr(upload_budget, "ROOM_SECONDS", 0.0)
    services.processing.sources.budget = UploadBudget(max_read_at_once=0)
    refused = await client.post(UP, json={"upload": names[0]}, headers=of(ALICE))
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_uploads")


@asynccontextmanager
async def arriving(budget: UploadBudget, body: bytes) -> AsyncIterator[None]:
    """A picture that comes in small pieces, as fast as there is room for it."""
    async with budget.reading() as reading:
        for _ in range(0, len(body), 10):
            await reading.add(10)
            await asyncio.sleep(0)
        picture = await reading.finish(body)
    yield
    del picture


async def test_pictures_that_are_all_half_read_do_not_wait_for_each_other() -> None:
    budget = UploadBudget(max_held_bytes=400)

    async def bring() -> None:
        async with arriving(budget, bytes(80)):
            await asyncio.sleep(0.05)

    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, budget.held_bytes)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(bring() for _ in range(25)))
    watching.cancel()
    assert 300 <= most <= 400
    assert budget.held_bytes == 0


async def test_who_finds_no_room_is_sent_away_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_budget, "ROOM_SECONDS", 0.1)
    budget = UploadBudget(max_held_bytes=100)
    held = await budget.hold(bytes(90))
    async with budget.reading() as reading:
        with pytest.raises(TooManyUploads):
            await reading.add(20)
    assert held.held_bytes == budget.held_bytes == 90


async def test_waiting_for_room_is_no_slowness_of_who_sends(
    services: MemoryServices, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copperplate.http.process_bodies.READ_SECONDS", 0.2)
    budget = services.processing.sources.budget = UploadBudget(max_held_bytes=100)
    held = [await budget.hold(bytes(90))]
    processor_of(services).gate.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 20
        await asyncio.sleep(0.01)
        yield b"x" * 10

    asking = asyncio.create_task(client.post(UP, content=body(), headers=PNG))
    await asyncio.sleep(0.3)
    assert not asking.done()
    held.clear()
    assert (await asking).status_code == 200
