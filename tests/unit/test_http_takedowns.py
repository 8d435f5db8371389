"""A picture that was taken down, over HTTP: 410 by every route, never cacheable, never paid for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.supabase.users import make_local_token
from copperplate.budgets import Credits
from copperplate.http.app import create_app
from copperplate.operations.takedown import take_down
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of at least thirty-two characters"
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
SUNSET = "/256x256.jpg?text=a%20beautiful%20sunset"
FORMATS = ("jpg", "jpeg", "png", "webp")
MEMOJI = "/api/generate-memoji"
# Whatever would let a cache, or whoever asks again, believe in the picture.
OF_PICTURES = {
    "etag", "last-modified", "expires", "age", "cache-tag", "vercel-cache-tag", "cdn-cache-control", "retry-after",
    "vercel-cdn-cache-control", "location", "x-copperplate-key", "accept-ranges", "content-range",
}  # fmt: skip


def of(user: UUID) -> dict[str, str]:
    """The header of a signed-in person."""
    return {"authorization": f"Bearer {make_local_token(user, SECRET, seconds=60)}"}


def check_gone(answer: httpx.Response) -> None:
    """410, told as a problem, and nothing that may be kept."""
    assert answer.status_code == 410, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert not OF_PICTURES & set(answer.headers)
    if answer.request.method != "HEAD":
        assert answer.json()["code"] == "taken_down"
        assert "lawyer" not in answer.text


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    await made.ledger.grant_credits(ALICE, 10, "g")
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        yield client


async def remove(services: MemoryServices, key: str) -> None:
    """Take it down as the command does."""
    await take_down(services.ledger, key, reason="a letter of a lawyer", stores=services.stores)


async def generation_key(client: httpx.AsyncClient) -> str:
    """Of a picture that nobody has asked for."""
    explained = (await client.get("/api/explain", params={"url": SUNSET})).json()
    return str(explained["explanation"]["generation_key"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"if-none-match": "*"}, {"range": "bytes=0-1"}, {"cache-control": "only-if-cached"}],
    ids=["plain", "conditional", "a part", "from a cache"],
)
async def test_a_picture_is_gone_in_every_format(
    client: httpx.AsyncClient, services: MemoryServices, method: str, headers: dict[str, str]
) -> None:
    shown = await client.get(SUNSET)
    assert shown.status_code == 200
    await remove(services, shown.headers["x-copperplate-key"])
    assert not services.store._objects
    for name in FORMATS:
        check_gone(await client.request(method, SUNSET.replace("jpg", name), headers=headers))
    assert services.image_provider.submits == 1


async def test_a_held_copy_is_not_confirmed(client: httpx.AsyncClient, services: MemoryServices) -> None:
    shown = await client.get(SUNSET)
    await remove(services, shown.headers["x-copperplate-key"])
    check_gone(await client.get(SUNSET, headers={"if-none-match": shown.headers["etag"]}))


async def test_what_nobody_asked_for_yet_is_never_made(client: httpx.AsyncClient, services: MemoryServices) -> None:
    key = await generation_key(client)
    await remove(services, key)
    check_gone(await client.get(SUNSET))
    check_gone(await client.head(SUNSET))
    assert services.image_provider.submits == 0
    assert await services.ledger.lift_takedown(key)
    assert (await client.get(SUNSET)).status_code == 200


async def test_a_memoji_is_gone_for_whoever_asks_and_costs_nothing(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    first = {**of(ALICE), "idempotency-key": "k"}
    made = (await client.post(MEMOJI, json={}, headers=first)).json()
    await remove(services, made["key"])
    for headers in (of(ALICE), of(BOB), first, {**of(ALICE), "idempotency-key": "another"}):
        check_gone(await client.post(MEMOJI, json={}, headers=headers))
        check_gone(await client.post(MEMOJI, json={}, headers={**headers, "prefer": "respond-async"}))
    check_gone(await client.get(f"/api/generations/{made['key']}", headers=of(ALICE)))
    nobodys = await client.get(f"/api/generations/{'0' * 64}", headers=of(BOB))
    assert nobodys.status_code == 404
    assert (await client.get(made["url"])).status_code == 404
    assert services.image_provider.submits == 1
    assert await services.ledger.credits(ALICE) == Credits(balance=9, held=0)


async def test_callers_of_a_generation_under_way_are_told_and_nothing_is_stored() -> None:
    provider = GatedProvider(FakeClock())
    services = memory_services(provider=provider)
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        key = await generation_key(client)
        asking = [asyncio.create_task(client.get(SUNSET)) for _ in range(3)]
        await provider.began.wait()
        await remove(services, key)
        check_gone(await client.head(SUNSET))
        provider.gate.set()
        for answer in await asyncio.gather(*asking):
            check_gone(answer)
    assert not services.store._objects
    assert provider.submits == 1
    await services.request_meter.close()
