"""The deployment's entry: start, life and end of an application that loads late."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from copperplate.http.lazy_app import LazyApp
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SUNSET = "/64x64.jpg?text=a%20beautiful%20sunset"
ON_VERCEL = {"VERCEL": "1"}


async def test_an_entry_that_cannot_open_its_services_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr("copperplate.http.lifespan.open_services", refuse)
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    with pytest.raises(RuntimeError):
        await LazyApp()({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.failed"]


class Entry:
    """The deployment's application, and a server that starts it, asks it and stops it."""

    def __init__(self) -> None:
        self.app = LazyApp()
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        async def say(message: Any) -> None:
            self.said.put_nowait(message["type"])

        self.life = asyncio.create_task(self.app({"type": "lifespan"}, self.told.get, say))
        self.told.put_nowait({"type": "lifespan.startup"})
        assert await self.said.get() == "lifespan.startup.complete"

    async def stop(self) -> None:
        assert self.life is not None
        self.told.put_nowait({"type": "lifespan.shutdown"})
        await self.life

    async def status(self, path: str) -> int:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
            return (await client.get(path)).status_code


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> MemoryServices:
    """What the entry opens."""
    services = memory_services(environ=ON_VERCEL)

    @contextlib.asynccontextmanager
    async def open_these(_: object) -> AsyncIterator[MemoryServices]:
        yield services

    monkeypatch.setattr("copperplate.http.lifespan.open_services", open_these)
    return services


async def test_an_entry_that_is_asked_for_its_health_before_it_has_started_answers_everything_afterwards(
    opened: MemoryServices,
) -> None:
    entry = Entry()
    assert (await entry.status("/healthz"), await entry.status("/api/cache/stats")) == (200, 503)
    await entry.start()
    assert (await entry.status("/api/cache/stats"), await entry.status(SUNSET)) == (200, 200)
    await entry.stop()
    await opened.request_meter.close()


async def test_an_entry_that_has_stopped_answers_503_and_touches_no_closed_service(opened: MemoryServices) -> None:
    entry = Entry()
    await entry.start()
    assert await entry.status(SUNSET) == 200
    await entry.stop()
    assert [await entry.status(path) for path in (SUNSET, "/api/cache/stats", "/healthz")] == [503, 503, 200]
    await opened.request_meter.close()


async def test_a_request_to_the_entry_passes_one_front(opened: MemoryServices, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = 0

    async def finish(*_: object, **__: object) -> None:
        nonlocal finished
        finished += 1

    monkeypatch.setattr(type(opened), "finish", finish)
    entry = Entry()
    await entry.start()
    assert await entry.status("/api/cache/stats") == 200
    assert finished == 1
    await entry.stop()
    await opened.request_meter.close()
