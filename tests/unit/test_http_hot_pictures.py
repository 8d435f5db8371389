"""Hits in memory: the answers that any other hit gets, before anything else looks at the request."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.feed import Tier
from copperplate.http.app import create_app
from copperplate.http.hot_pictures import HotPictures
from copperplate.http.picture_urls import REMEMBERED
from copperplate.model import Outcome
from tests.support.memory_services import MemoryServices, client, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["client"]

SUNSET = "/256x256.jpg?text=A%20beautiful%20sunset&seed=7"
MARKED = SUNSET + "&utm_source=a"
MEMORY = re.compile(r"Copperplate; hit; ttl=35\d\d; detail=memory")
STORAGE = "Copperplate; hit; ttl=3600; detail=storage"


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services()
    yield made
    await made.tiers.close()
    await made.request_meter.close()


def calls_of(services: MemoryServices) -> list[str]:
    """The calls of the ledger and the store from here on, but for the feed and usage."""
    calls: list[str] = []
    for of, names in ((services.ledger, ("peek", "acquire")), (services.store, ("get",))):
        for name in names:
            setattr(of, name, _noting(getattr(of, name), name, calls))
    return calls


def _noting(call: Any, name: str, calls: list[str]) -> Any:
    async def noted(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return await call(*args, **options)

    return noted


async def keep(client: httpx.AsyncClient, url: str = SUNSET) -> httpx.Response:
    """The picture, once it is answered from memory."""
    await client.get(url)
    await client.get(url)
    answer = await client.get(url)
    assert MEMORY.fullmatch(answer.headers["cache-status"])
    return answer


Told = tuple[int, list[tuple[bytes, bytes]], bytes]


class Process:
    """The memory, the ledger and the pictures of one process by a clock that stands still; its ledger may go away."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.services = memory_services(clock=self.clock)
        self.app = create_app(services=self.services)

    async def ask(self, app: ASGIApp, url: str, *, method: str = "GET", **headers: str) -> Told:
        """The answer of this application, with its headers as they were sent."""
        async with browser(app) as client:
            answer = await client.request(method, url, headers=headers)
        return answer.status_code, answer.headers.raw, answer.content

    async def hit(self, url: str, *, method: str = "GET", **headers: str) -> Told:
        """The answer from memory, before anything else looks at the request: see that it is."""
        return await self.ask(HotPictures(_nobody, self.app.state.wiring), url, method=method, **headers)

    async def lose_the_ledger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on hits are stale."""
        for name in ("read_feed", "peek", "acquire"):
            monkeypatch.setattr(self.services.ledger, name, _away)
        for _ in range(10):
            await self.clock.advance(0.5)


async def _nobody(*_: Any) -> None:
    raise AssertionError("it was not in memory")


async def _away(*_: Any, **__: Any) -> Any:
    raise LedgerUnavailable("away")


def _stamped(app: ASGIApp) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def stamp(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-stamp", b"1"))
            await send(message)

        await app(scope, receive, stamp)

    return call


def browser(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pictures.test")


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = Process()
    for url in (SUNSET, MARKED):
        for _ in range(3):
            await process.ask(process.app, url)
    # Within a second answers are those that were made for the first of it.
    await process.clock.advance(0.5)
    yield process
    await process.services.tiers.close()
    await process.services.request_meter.close()


class TestAsAnyOther:
    @pytest.mark.parametrize("is_stale", [False, True], ids=["fresh", "stale"])
    @pytest.mark.parametrize("url", [SUNSET, MARKED], ids=["plain", "ignored"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("held", ["", "this", "*", "another", "weak"])
    async def test_the_answer_is_to_a_byte_that_of_a_picture_found_by_another_way(
        self, process: Process, monkeypatch: pytest.MonkeyPatch, *, is_stale: bool, url: str, method: str, held: str
    ) -> None:
        etag = dict((await process.hit(url))[1])[b"etag"].decode()
        if is_stale:
            await process.lose_the_ledger(monkeypatch)
        tags = {"this": etag, "*": "*", "another": '"0"', "weak": f'"x", W/{etag}'}
        asked = {"If-None-Match": tags[held]} if held else {}
        hot = await process.hit(url, method=method, **asked)
        # A bearer that is nobody's changes nothing but the way.
        assert await process.ask(process.app, url, method=method, Authorization="Bearer nobody", **asked) == hot
        status, raw, body = hot
        assert status == (304 if held in ("this", "*", "weak") else 200)
        assert bool(body) is (method == "GET" and status == 200)
        said = b"Copperplate; hit; ttl=%s; detail=memory" % (b"-3" if is_stale else b"3599")
        assert [value for name, value in raw if name == b"cache-status"] == [said]
        assert [value for name, value in raw if name == b"x-copperplate-ignored"] == [b"utm_source"] * (url == MARKED)

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    @pytest.mark.parametrize("url", [SUNSET, MARKED], ids=["plain", "ignored"])
    async def test_middleware_that_writes_to_an_answer_writes_to_no_other(
        self, process: Process, url: str, method: str
    ) -> None:
        before = await process.ask(process.app, url, method=method)
        # These write to the messages as they come, and to the list of headers.
        cors = CORSMiddleware(_stamped(process.app), allow_origins=["https://a.test"], allow_credentials=True)
        around = GZipMiddleware(cors, minimum_size=1)
        asked = {"Origin": "https://a.test", "Accept-Encoding": "gzip"}
        answers = [await process.ask(around, url, method=method, **asked) for _ in range(3)]
        assert [each[1] for each in answers[1:]] == [answers[0][1]] * 2
        assert (b"access-control-allow-credentials", b"true") in answers[0][1]
        assert await process.ask(process.app, url, method=method) == before

    async def test_neither_ledger_nor_store_is_asked(self, client: httpx.AsyncClient, services: MemoryServices) -> None:
        etag = (await keep(client)).headers["etag"]
        calls = calls_of(services)
        for headers in ({}, {"If-None-Match": etag}, {"Range": "bytes=0-1"}, {"Authorization": "Bearer nobody"}):
            for method in ("GET", "HEAD"):
                assert (await client.request(method, SUNSET, headers=headers)).status_code in (200, 206, 304)
        assert calls == []

    async def test_every_use_is_counted_with_its_tier(
        self, client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture = await keep(client)
        counted: list[tuple[str, int, Tier | None]] = []

        def count(_: Any, outcome: Any, *, size_bytes: int, seconds: float, tier: Tier | None = None) -> None:
            assert 0 <= seconds < 60
            counted.append((outcome.value, size_bytes, tier))

        monkeypatch.setattr(services.request_meter, "count", count)
        await client.get(SUNSET)
        await client.head(SUNSET)
        await client.get(SUNSET, headers={"If-None-Match": picture.headers["etag"]})
        await client.get(SUNSET, headers={"Range": "bytes=0-9"})
        assert counted == [("hit", size, Tier.MEMORY) for size in (len(picture.content), 0, 10)]

    async def test_uses_are_in_the_statistics(self, client: httpx.AsyncClient, services: MemoryServices) -> None:
        await keep(client)
        before = (await client.get("/api/generation/stats")).json()["stats"]
        for _ in range(5):
            await client.get(SUNSET)
        after = (await client.get("/api/generation/stats")).json()["stats"]
        assert after["total_hits"] - before["total_hits"] == 5

    async def test_the_line_says_tier_and_money_saved(
        self, client: httpx.AsyncClient, services: MemoryServices, caplog: pytest.LogCaptureFixture
    ) -> None:
        picture = await keep(client)
        price = services.price_of({"kind": "image", "model": "scripted", "width": 256, "height": 256})
        caplog.set_level(logging.INFO, "copperplate.requests")
        await client.get(SUNSET)
        await client.head(SUNSET)
        lines = [record.getMessage() for record in caplog.records if record.name == "copperplate.requests"]
        assert re.fullmatch(
            rf"method=GET status=200 outcome=hit tier=memory key=[0-9a-f]{{12}} ms=\d+\.\d "
            rf"bytes={len(picture.content)} cost_micro_usd=0 saved_micro_usd={price}",
            lines[0],
        )
        assert lines[1].startswith("method=HEAD status=200 outcome=- tier=- ")
        assert "sunset" not in caplog.text


class TestLeftToOthers:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Authorization": "Bearer cp_" + "0" * 57}, 401),
            ({"X-API-Key": "cp_" + "0" * 57}, 401),
            ({"Range": "bytes=0-1"}, 206),
            ({"Range": "bytes=999999-"}, 416),
            ({"Prefer": "respond-async"}, 200),
        ],
    )
    async def test_what_is_judged_by_more_than_the_address(
        self, client: httpx.AsyncClient, headers: dict[str, str], status: int
    ) -> None:
        await keep(client)
        assert (await client.get(SUNSET, headers=headers)).status_code == status

    async def test_a_key_in_the_address_is_judged(self, client: httpx.AsyncClient) -> None:
        await keep(client)
        for name in ("key", "%6bey"):
            for _ in range(2):
                assert (await client.get(f"{SUNSET}&{name}=cp_{'0' * 57}")).status_code == 401

    @pytest.mark.parametrize("hosts", [0, 2])
    async def test_a_request_names_one_host(
        self, client: httpx.AsyncClient, services: MemoryServices, hosts: int
    ) -> None:
        await keep(client)
        path, _, query = SUNSET.partition("?")
        app, sent = create_app(services=services), []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "http_version": "1.1"}
        for count in (1, hosts):
            sent.clear()
            await app({**scope, "headers": [(b"host", b"t")] * count}, None, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == 400

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    async def test_other_methods_are_refused(self, client: httpx.AsyncClient, method: str) -> None:
        await keep(client)
        assert (await client.request(method, SUNSET)).status_code == 405

    async def test_the_placeholder_is_not_taken_for_the_picture(self, client: httpx.AsyncClient) -> None:
        picture = await keep(client)
        for _ in range(2):
            assert (await client.get(f"{SUNSET}&placeholder")).content != picture.content

    async def test_a_negotiated_address_is_no_other_callers(self, client: httpx.AsyncClient) -> None:
        auto = SUNSET.replace(".jpg", ".auto")
        for _ in range(3):
            webp = await client.get(auto, headers={"Accept": "image/webp"})
            jpg = await client.get(auto)
        assert (webp.headers["content-type"], jpg.headers["content-type"]) == ("image/webp", "image/jpeg")
        assert webp.headers["vary"] == jpg.headers["vary"] == "Accept"
        assert "vary" not in (await keep(client)).headers


class TestParts:
    @pytest.mark.parametrize("is_kept", [False, True])
    async def test_a_part_is_answered_at_both_addresses(self, client: httpx.AsyncClient, *, is_kept: bool) -> None:
        picture = await keep(client)
        url = f"/api/images/{picture.headers['x-copperplate-key']}" if is_kept else SUNSET
        size, etag = len(picture.content), picture.headers["etag"]
        for asked, start, stop in (("bytes=2-5", 2, 6), ("bytes=-3", size - 3, size), ("bytes=7-", 7, size)):
            part = await client.get(url, headers={"Range": asked, "If-Range": etag})
            assert (part.status_code, part.content) == (206, picture.content[start:stop])
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert part.headers["content-length"] == str(stop - start)
            alike = ("etag", "cache-control", "content-type", "accept-ranges", "x-copperplate-key")
            assert [part.headers[name] for name in alike] == [picture.headers[name] for name in alike]

    async def test_a_part_that_is_not_there_is_416_and_nobody_keeps_that(self, client: httpx.AsyncClient) -> None:
        picture = await keep(client)
        answer = await client.get(SUNSET, headers={"Range": "bytes=9999999-"})
        assert (answer.status_code, answer.json()["code"]) == (416, "unsatisfiable_range")
        assert answer.headers["content-range"] == f"bytes */{len(picture.content)}"
        assert answer.headers["cache-control"] == "no-store"

    async def test_a_part_that_is_not_there_is_no_hit_and_saved_no_call(
        self, client: httpx.AsyncClient, services: MemoryServices
    ) -> None:
        await keep(client)
        before = (await client.get("/api/generation/stats")).json()["stats"]
        for _ in range(3):
            assert (await client.get(SUNSET, headers={"Range": "bytes=9999999-"})).status_code == 416
        assert (await client.get("/api/generation/stats")).json()["stats"] == before

    @pytest.mark.parametrize(
        "headers",
        [
            {"Range": "bytes=0-1,4-5"},
            {"Range": "pages=1"},
            {"Range": "bytes=0-1", "If-Range": '"another"'},
            {"Range": "bytes=9999999-", "If-Range": '"another"'},
            {"Range": "bytes=0-1", "If-Range": "Mon, 30 Nov 2026 20:00:00 GMT"},
        ],
    )
    async def test_what_is_no_part_of_this_picture_is_the_whole(
        self, client: httpx.AsyncClient, headers: dict[str, str]
    ) -> None:
        picture = await keep(client)
        answer = await client.get(SUNSET, headers=headers)
        assert (answer.status_code, answer.content) == (200, picture.content)

    async def test_who_holds_the_picture_is_told_so_though_a_part_is_asked_for(self, client: httpx.AsyncClient) -> None:
        etag = (await keep(client)).headers["etag"]
        held = await client.get(SUNSET, headers={"Range": "bytes=0-1", "If-None-Match": etag})
        assert (held.status_code, held.content) == (304, b"")

    async def test_a_new_picture_is_made_whole_and_counted_as_made(
        self, client: httpx.AsyncClient, services: MemoryServices
    ) -> None:
        part = await client.get(SUNSET, headers={"Range": "bytes=0-1"})
        assert (part.status_code, len(part.content), part.headers["x-cache"]) == (206, 2, "MISS")
        none = await client.get("/64x64.jpg?text=b", headers={"Range": "bytes=9999999-"})
        assert none.status_code == 416
        sums = services.request_meter._sums.values()
        assert sorted((row.outcome.value, row.count) for row in sums) == [("generated", 1), ("generated", 1)]


class TestLifetimes:
    async def test_a_hit_of_the_ledger_names_the_store(self) -> None:
        services = memory_services(environ={"COPPERPLATE_MEMORY_PICTURES": "0"})
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(services=services)), base_url="http://pictures.test"
        ) as client:
            await client.get(SUNSET)
            answer = await client.get(SUNSET)
        assert (answer.headers["cache-status"], answer.headers["x-cache"]) == (STORAGE, "HIT")
        await services.request_meter.close()

    @pytest.mark.parametrize(
        ("environ", "told"),
        [
            ({}, "public, max-age=3600, stale-while-revalidate=60"),
            ({"COPPERPLATE_CDN_SECONDS": "86400"}, "public, max-age=86400, stale-while-revalidate=60"),
            ({"COPPERPLATE_CDN_STALE_SECONDS": "0"}, "public, max-age=3600"),
            ({"COPPERPLATE_CDN_SECONDS": "0"}, "no-store"),
        ],
    )
    async def test_cdns_are_told_what_is_set_and_browsers_an_hour(self, environ: dict[str, str], told: str) -> None:
        services = memory_services(environ=environ)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(services=services)), base_url="http://pictures.test"
        ) as client:
            for _ in range(3):
                answer = await client.get(SUNSET)
                assert answer.headers["cdn-cache-control"] == answer.headers["vercel-cdn-cache-control"] == told
                assert answer.headers["cache-control"] == "public, max-age=3600, immutable"
        await services.tiers.close()
        await services.request_meter.close()

    async def test_a_remembered_failure_is_named_and_a_new_one_is_not(self) -> None:
        services = memory_services(failures=[ProviderFailed(FailureClass.MODERATED, "no")])
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(services=services)), base_url="http://pictures.test"
        ) as client:
            new, remembered = await client.get(SUNSET), await client.get(SUNSET)
            looked = await client.head(SUNSET)
        assert (new.status_code, remembered.status_code, looked.status_code) == (422, 422, 422)
        assert "cache-status" not in new.headers
        assert remembered.headers["cache-status"] == "Copperplate; hit; detail=negative"
        assert looked.headers["cache-status"] == "Copperplate; hit; detail=negative"
        assert remembered.headers["cache-control"] == "no-store"
        await services.request_meter.close()


class TestWhileTheLedgerIsAway:
    async def test_stale_pictures_say_so_and_are_kept_for_a_minute(
        self, client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture = await keep(client)

        async def away(*_: Any, **__: Any) -> Any:
            raise LedgerUnavailable("away")

        for name in ("read_feed", "peek", "acquire"):
            monkeypatch.setattr(services.ledger, name, away)
        age_trust(services, monkeypatch, 10)
        answers = [await client.get(SUNSET) for _ in range(3)]
        slow = await client.get(SUNSET, headers={"Authorization": "Bearer nobody"})
        for answer in (*answers, slow):
            assert (answer.status_code, answer.content) == (200, picture.content)
            assert (answer.headers["x-cache"], answer.headers["etag"]) == ("HIT", picture.headers["etag"])
            assert re.fullmatch(r"Copperplate; hit; ttl=-[1-9]\d*; detail=memory", answer.headers["cache-status"])
            for name in ("cache-control", "cdn-cache-control", "vercel-cdn-cache-control"):
                assert answer.headers[name] == "public, max-age=60"
        sums = services.request_meter._sums.values()
        assert [(row.count, row.tier) for row in sums if row.outcome is Outcome.STALE] == [(4, Tier.MEMORY)]


def age_trust(services: MemoryServices, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass by the clock of the services."""
    monotonic, now = services.clock.monotonic, services.clock.now
    monkeypatch.setattr(services.clock, "monotonic", lambda: monotonic() + seconds)
    monkeypatch.setattr(services.clock, "now", lambda: now() + timedelta(seconds=seconds))


async def test_addresses_that_come_once_do_not_fill_memory(services: MemoryServices) -> None:
    app = create_app(services=services)
    urls = app.state.wiring.picture_urls
    for number in range(REMEMBERED + 10):
        urls.read("/64x64.jpg", b"text=a&seed=%d" % number)
    assert len(urls.plain) == REMEMBERED
    assert ("/64x64.jpg", b"text=a&seed=9") not in urls.plain
    assert ("/64x64.jpg", b"text=a&seed=%d" % (REMEMBERED + 9)) in urls.plain
