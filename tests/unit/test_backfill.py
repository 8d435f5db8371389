"""Placeholders for pictures that were kept before there were any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import StoreUnavailable
from copperplate.http.app import create_app
from copperplate.operations import backfill
from copperplate.operations.backfill import Backfill
from copperplate.operations.cleanup import clean
from copperplate.recipes.objects import sha256_hex
from copperplate.testing import GENERATE
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import PLACEHOLDER, picture_request

if TYPE_CHECKING:
    from copperplate.model import Entry, Placeholder
    from copperplate.operations.cleanup import Cleaned

SECRET = "a-secret-of-the-cron-0123456789"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def services(clock: FakeClock) -> MemoryServices:
    return memory_services(clock=clock, environ={"CRON_SECRET": SECRET})


async def make(services: MemoryServices, number: int) -> list[Entry]:
    """So many originals without a placeholder, as `PlainImages` answers none; by their keys."""
    for each in range(number):
        await services.coordinator.find(picture_request(f"picture {each}"), GENERATE)
    return [*await services.ledger.originals_without_placeholder(number)]


def of(services: MemoryServices) -> Backfill:
    return Backfill(services.ledger, services.stores, services.images, services.clock)


async def run(services: MemoryServices) -> Cleaned:
    return await clean(services.ledger, services.stores.values(), clock=services.clock, backfill=of(services))


def known(services: MemoryServices) -> set[Placeholder | None]:
    return {row.entry.placeholder for row in services.ledger._entries.values()}


async def test_a_cleanup_makes_what_is_lacking_on_every_form(services: MemoryServices) -> None:
    await make(services, 3)
    cleaned = await run(services)
    assert (cleaned.placeholders, cleaned.placeholders_left, cleaned.is_complete) == (3, 0, True)
    assert known(services) == {PLACEHOLDER}
    assert (await run(services)).placeholders == 0


async def test_a_run_makes_a_bounded_number_and_the_next_one_goes_on(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PICTURES", 4)
    await make(services, 10)
    runs = [await run(services) for _ in range(4)]
    assert [each.placeholders for each in runs] == [4, 4, 2, 0]
    assert [each.placeholders_left for each in runs] == [6, 2, 0, 0]


async def test_a_run_takes_a_bounded_time(services: MemoryServices, clock: FakeClock) -> None:
    await make(services, 5)
    real = services.store.get

    async def get(path: str) -> bytes:
        await clock.advance(backfill.SECONDS / 2)
        return await real(path)

    services.store.get = get  # type: ignore[method-assign]
    cleaned = await run(services)
    assert (cleaned.placeholders, cleaned.placeholders_left) == (2, 3)


async def test_what_cannot_be_decoded_is_not_tried_again(services: MemoryServices) -> None:
    first, *_ = await make(services, 3)
    path = f"{first.path[:8]}{'f' * 64}.png"
    await services.store.put(path, b"rubbish", media_type="image/png")
    row = services.ledger._entries[first.key]
    row.entry = replace(row.entry, path=path, digest=sha256_hex(b"rubbish"))
    cleaned = await run(services)
    assert (cleaned.placeholders, cleaned.placeholders_left) == (2, 0)
    gets = services.store.gets
    assert (await run(services)).placeholders == 0
    assert services.store.gets == gets


@pytest.mark.parametrize("is_altered", [False, True])
async def test_what_is_gone_holds_up_nobody(services: MemoryServices, is_altered: bool) -> None:
    lost, *_ = await make(services, 3)
    await services.store.remove([lost.path])
    if is_altered:
        await services.store.put(lost.path, b"another picture", media_type="image/png")
    cleaned = await run(services)
    assert (cleaned.placeholders, cleaned.placeholders_left) == (2, 1)
    assert services.ledger._entries[lost.key].entry.path == lost.path


async def test_each_day_begins_elsewhere(services: MemoryServices, clock: FakeClock) -> None:
    await make(services, 20)
    begins = set()
    for _ in range(10):
        begins.add((await of(services)._find())[0].key)
        assert len({entry.key for entry in await of(services)._find()}) == 20
        await clock.advance(86_400)
    assert len(begins) > 3


async def test_a_store_that_does_not_answer_is_left_alone(services: MemoryServices) -> None:
    await make(services, 3)
    asked = []

    async def get(path: str) -> bytes:
        asked.append(path)
        raise StoreUnavailable("away")

    services.store.get = get  # type: ignore[method-assign]
    cleaned = await run(services)
    assert (cleaned.placeholders, cleaned.placeholders_left, len(asked)) == (0, 3, 1)


async def test_the_cron_does_some_of_them(services: MemoryServices) -> None:
    await make(services, 2)
    headers = {"authorization": f"Bearer {SECRET}"}
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test", headers=headers) as client:
        counted = (await client.get("/api/cache/cleanup?dry_run=true")).json()
        cleaned = (await client.get("/api/cache/cleanup")).json()
    assert counted["placeholders_left"] == 2
    assert (cleaned["placeholders"], cleaned["placeholders_left"]) == (2, 0)
