"""Hits on disk that wait for nothing: the answers of any other hit, before anything else looks at the request."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from copperplate.adapters import disk_tier
from copperplate.adapters.copy_folder import FOLDER, CopyFolder
from copperplate.adapters.memory.clock import FakeClock
from copperplate.feed import Tier
from copperplate.http.app import create_app
from copperplate.http.hot_pictures import HotPictures
from tests.support.feeds import read_feed
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

SUNSET = "/256x256.jpg?text=A%20beautiful%20sunset&seed=7"
MARKED = SUNSET + "&utm_source=a"
DISK = "Copperplate; hit; ttl=3600; detail=disk"


class Process:
    """A process with a folder, and `passed`: how many requests were not answered at once."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.clock = FakeClock()
        self.services = memory_services(
            clock=self.clock, environ={"COPPERPLATE_DISK_CACHE_DIR": str(folder), **environ}
        )
        self.app = create_app(services=self.services)
        self.hot = HotPictures(self._pass, self.app.state.wiring)
        self.passed = 0

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.passed += 1
        await self.app(scope, receive, send)

    async def ask(self, url: str = SUNSET, *, method: str = "GET", **headers: str) -> httpx.Response:
        """The answer, at once where that is possible."""
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.hot), base_url="http://pictures.test"
        ) as client:
            answer = await client.request(method, url, headers=headers)
        await self.services.tiers.shut_down(within_seconds=30)
        return answer

    async def hit(self, url: str = SUNSET) -> httpx.Response:
        """The answer: see that it was given at once, from the disk."""
        before = self.passed
        answer = await self.ask(url)
        assert (self.passed, answer.headers["cache-status"]) == (before, DISK)
        return answer

    async def is_passed_on(self, method: str = "GET", **headers: str) -> bool:
        """Whether others answer such a request."""
        before = self.passed
        await self.ask(method=method, **headers)
        return self.passed > before


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    """Without memory, after a thread has read the file."""
    process = Process(tmp_path, COPPERPLATE_MEMORY_PICTURES="0")
    for url in (SUNSET, MARKED, SUNSET):
        await process.ask(url)
    process.passed = 0
    yield process
    await process.services.tiers.close()
    await process.services.request_meter.close()


@pytest.mark.parametrize("url", [SUNSET, MARKED], ids=["plain", "ignored"])
async def test_the_answer_is_to_a_byte_that_of_a_picture_found_by_another_way(process: Process, url: str) -> None:
    hot = await process.hit(url)
    # A bearer that is nobody's changes nothing but the way.
    other = await process.ask(url, Authorization="Bearer nobody")
    assert process.passed == 1
    assert (hot.status_code, hot.headers.raw, hot.content) == (200, other.headers.raw, other.content)
    assert (await process.hit(url)).content == hot.content
    assert hot.headers.get("x-copperplate-ignored") == ("utm_source" if url == MARKED else None)


async def test_every_use_is_counted_and_logged_with_its_tier(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counted: list[tuple[str, int, Tier | None]] = []

    def count(_: Any, outcome: Any, *, size_bytes: int, seconds: float, tier: Tier | None = None) -> None:
        counted.append((outcome.value, size_bytes, tier))

    monkeypatch.setattr(process.services.request_meter, "count", count)
    caplog.set_level(logging.INFO, "copperplate.requests")
    picture = await process.hit()
    assert counted == [("hit", len(picture.content), Tier.DISK)]
    assert re.search(rf"method=GET status=200 outcome=hit tier=disk .* bytes={len(picture.content)} ", caplog.text)


async def test_what_needs_no_bytes_or_is_judged_by_more_than_the_address_is_left_to_others(process: Process) -> None:
    etag = (await process.hit()).headers["etag"]
    assert await process.is_passed_on("HEAD")
    for name, value in (("If-None-Match", etag), ("If-None-Match", '"0"'), ("Range", "bytes=0-1")):
        assert await process.is_passed_on("GET", **{name: value})


async def test_files_that_a_thread_has_to_read_are_left_to_others(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await process.hit()).headers["x-copperplate-key"]
    [file] = (tmp_path / FOLDER).glob(f"{key}-*")
    file.touch()  # written again by another process, for all that is known
    assert await process.is_passed_on()
    await process.hit()
    for _ in range(61):  # its pages may have left memory
        await process.clock.advance(1)
        await read_feed(process.services.tiers.coherence)
    assert await process.is_passed_on()
    await process.hit()
    monkeypatch.setattr(disk_tier, "INLINE_BYTES", 1)
    assert await process.is_passed_on()


async def test_what_is_declared_wrong_is_not_answered_although_its_file_is_there(process: Process) -> None:
    picture = await process.hit()
    await process.services.ledger.invalidate([Tier.DISK], [picture.headers["x-copperplate-generation-key"]])
    await read_feed(process.services.tiers.coherence)
    answer = await process.ask()
    assert (process.passed, answer.status_code) == (1, 200)
    assert "detail=disk" not in answer.headers["cache-status"]


async def test_a_process_that_stood_still_while_it_read_asks_the_feed_first(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.hit()
    open_file, coherence = CopyFolder.open, process.services.tiers.coherence

    def stand_still(self: CopyFolder, name: str) -> tuple[int, os.stat_result] | None:
        monkeypatch.undo()
        monkeypatch.setattr(coherence, "_fresh_until", process.clock.monotonic() - 1)
        return open_file(self, name)

    monkeypatch.setattr(CopyFolder, "open", stand_still)
    assert await process.is_passed_on()


async def test_what_older_encoders_made_is_left_to_others(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    await process.hit()
    monkeypatch.setattr(process.services.images, "encoder_version", 10**6)
    assert await process.is_passed_on()


async def test_a_picture_found_on_disk_enters_memory_as_by_any_other_way(tmp_path: Path) -> None:
    process = Process(tmp_path)
    tiers = process.services.tiers
    await process.ask()  # the feed was not read before it
    key = (await process.ask()).headers["x-copperplate-key"]
    assert tiers._memory is not None
    for _ in range(2):
        tiers._memory.drop(key)
        assert (await process.ask()).headers["cache-status"] == DISK
        assert "detail=memory" in (await process.ask()).headers["cache-status"]
    tiers._memory.drop(key)
    process.passed = 0
    await process.hit()
    item = tiers.find_hot(key)
    assert item is not None
    assert tiers.coherence.is_right(item.copy, Tier.MEMORY)
    await tiers.close()
    await process.services.request_meter.close()
