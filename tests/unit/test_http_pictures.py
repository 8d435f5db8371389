"""Pictures by URL: what a browser sees, what is spent, what is counted."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgi_lifespan import LifespanManager

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.recipes.objects import sha256_hex
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.feed import Tier
    from copperplate.ports.statistics import GenerationStats

SUNSET = "/256x256.jpg?text=A%20beautiful%20sunset"


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services()
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        LifespanManager(create_app(services=services)) as running,
        httpx.AsyncClient(transport=httpx.ASGITransport(running.app), base_url="http://pictures.test") as client,
    ):
        yield client


def reach(services: MemoryServices) -> httpx.AsyncClient:
    """A client of other services than the fixture's."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(services=services)), base_url="http://t")


async def stats(services: MemoryServices) -> GenerationStats:
    await services.request_meter.flush()
    return await services.ledger.generation_stats()


HOST = (b"host", b"pictures.test")


def scope_of(url: str, method: str = "GET") -> dict[str, Any]:
    path, _, query = url.partition("?")
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": [HOST]}


# --- hits and misses -----------------------------------------------------------------------------


async def test_second_request_is_a_hit_with_the_same_bytes(client: httpx.AsyncClient, services: MemoryServices) -> None:
    first, second = await client.get(SUNSET), await client.get(SUNSET)
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"] == f'"{sha256_hex(first.content)}"'
    assert services.image_provider.submits == 1


async def test_headers_of_a_hit(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.get(SUNSET)
    answer = await client.get(SUNSET)
    key = answer.headers["x-copperplate-key"]
    assert len(key) == 64
    explained = (await client.get("/api/explain", params={"url": SUNSET})).json()["explanation"]
    tags = f"copperplate,copperplate-{explained['generation_key'][:16]}"
    assert dict(answer.headers) == {
        "content-type": "image/jpeg",
        "content-length": str(len(answer.content)),
        "cache-control": "public, max-age=3600, immutable",
        "vercel-cdn-cache-control": "public, max-age=3600, stale-while-revalidate=60",
        "cdn-cache-control": "public, max-age=3600, stale-while-revalidate=60",
        "accept-ranges": "bytes",
        "etag": f'"{sha256_hex(answer.content)}"',
        "x-cache": "HIT",
        "cache-status": "Copperplate; hit; ttl=3599; detail=memory",
        "x-copperplate-key": key,
        "x-copperplate-generation-key": explained["generation_key"],
        "cache-tag": tags,
        "vercel-cache-tag": tags,
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": (
            "ETag, Content-Range, X-Cache, Cache-Status, X-Copperplate-Key, X-Copperplate-Generation-Key, "
            "X-Copperplate-Ignored, X-Copperplate-Placeholder"
        ),
    }


async def test_a_miss_says_why_it_went_on(client: httpx.AsyncClient) -> None:
    assert (await client.get(SUNSET)).headers["cache-status"] == "Copperplate; fwd=uri-miss; stored"


async def test_the_key_in_the_header_is_the_one_explain_tells(client: httpx.AsyncClient) -> None:
    picture = await client.get(SUNSET)
    told = (await client.get("/api/explain", params={"url": SUNSET})).json()["explanation"]
    assert told["rendition_key"] == picture.headers["x-copperplate-key"]


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")],
)
async def test_content_type_follows_the_ending(client: httpx.AsyncClient, ending: str, media_type: str) -> None:
    assert (await client.get(f"/64x64.{ending}?text=a")).headers["content-type"] == media_type


async def test_three_formats_cost_one_call(client: httpx.AsyncClient, services: MemoryServices) -> None:
    answers = [await client.get(f"/256x256.{ending}?text=one") for ending in ("jpg", "png", "webp", "jpeg")]
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "HIT", "HIT", "HIT"]
    assert len({answer.content for answer in answers}) == 3
    assert answers[0].headers["x-copperplate-key"] == answers[3].headers["x-copperplate-key"]
    assert services.image_provider.submits == 1


async def test_fifty_at_once_cost_one_call() -> None:
    provider = GatedProvider(FakeClock())
    services = memory_services(provider=provider)
    async with reach(services) as client:
        user_requests = [asyncio.create_task(client.get(SUNSET)) for _ in range(50)]
        await provider.began.wait()
        provider.gate.set()
        answers = await asyncio.gather(*user_requests)
    assert provider.submits == 1
    assert len({answer.content for answer in answers}) == 1
    statuses = [answer.headers["cache-status"] for answer in answers]
    assert statuses.count("Copperplate; fwd=uri-miss; stored") == 1
    assert statuses.count("Copperplate; fwd=uri-miss; collapsed") == 49
    assert (await stats(services)).total_misses == 50
    await services.request_meter.close()


async def test_prompt_is_another_name_for_text_and_unknown_parameters_do_not_count(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    urls = ("text=a+b", "prompt=a%20b", "utm_source=x&text=a%20b", "text=a%20b&text[]=c&TEXT=d", "text=%20a%09b%0A")
    keys = {(await client.get(f"/64x64.png?{query}")).headers["x-copperplate-key"] for query in urls}
    assert len(keys) == 1
    assert services.image_provider.submits == 1


async def test_only_offered_models_are_made(client: httpx.AsyncClient) -> None:
    named = await client.get("/64x64.png?text=a&model=copperplate/painter-1")
    assert named.headers["x-copperplate-key"] == (await client.get("/64x64.png?text=a")).headers["x-copperplate-key"]
    refused = await client.get("/64x64.png?text=a&model=other/model")
    assert refused.status_code == 400
    assert refused.json()["code"] == "invalid_model"
    assert "copperplate/painter-1" in refused.json()["detail"]


async def test_cookies_and_forwarded_hosts_change_nothing(client: httpx.AsyncClient) -> None:
    plain = await client.get(SUNSET)
    odd = await client.get(SUNSET, headers={"Cookie": "a=b", "X-Forwarded-Host": "evil.test", "Accept": "text/html"})
    assert odd.status_code == 200
    assert odd.content == plain.content
    assert odd.headers["x-copperplate-key"] == plain.headers["x-copperplate-key"]
    assert "vary" not in odd.headers


async def test_urls_too_long_to_be_remembered_are_served_the_same(client: httpx.AsyncClient) -> None:
    long = "/64x64.png?text=a&utm=" + "x" * 4_000
    assert (await client.get(long)).headers["x-cache"] == "MISS"
    assert (await client.get(long)).headers["x-cache"] == "HIT"
    assert (await client.get("/64x64.png?text=a")).headers["x-cache"] == "HIT"


# --- conditional requests ------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["{}", "W/{}", '"other", {}', '{} , W/"x"', '"a,b",{}', "*", " * "])
async def test_a_picture_that_is_held_is_not_sent_again(
    client: httpx.AsyncClient, services: MemoryServices, template: str
) -> None:
    etag = (await client.get(SUNSET)).headers["etag"]
    gets = services.store.gets
    answer = await client.get(SUNSET, headers={"If-None-Match": template.format(etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert answer.headers["cache-control"] == "public, max-age=3600, immutable"
    assert "content-type" not in answer.headers
    assert services.store.gets == gets


@pytest.mark.parametrize("held", ['"other"', "", "W/", '"', "{digest}", '"{digest}', "'{digest}'", "x" * 5_000])
async def test_anything_else_gets_the_picture(client: httpx.AsyncClient, held: str) -> None:
    digest = (await client.get(SUNSET)).headers["etag"].strip('"')
    answer = await client.get(SUNSET, headers={"If-None-Match": held.format(digest=digest)})
    assert answer.status_code == 200
    assert sha256_hex(answer.content) == digest


async def test_several_if_none_match_headers_are_one_list(client: httpx.AsyncClient) -> None:
    etag = (await client.get(SUNSET)).headers["etag"]
    headers = [("If-None-Match", '"a"'), ("If-None-Match", etag)]
    assert (await client.get(SUNSET, headers=headers)).status_code == 304


async def test_a_star_does_not_hide_a_picture_just_made(client: httpx.AsyncClient) -> None:
    answer = await client.get(SUNSET, headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "MISS")
    assert answer.content


# --- HEAD, OPTIONS, others -----------------------------------------------------------------------


async def test_head_spends_nothing(client: httpx.AsyncClient, services: MemoryServices) -> None:
    before = await client.head(SUNSET)
    assert (before.status_code, before.content) == (404, b"")
    assert before.headers["cache-control"] == "no-store"
    assert before.headers["content-type"] == "application/problem+json"
    assert services.image_provider.submits == 0
    picture = await client.get(SUNSET)
    after = await client.head(SUNSET)
    assert (after.status_code, after.content) == (200, b"")
    assert after.headers["content-length"] == str(len(picture.content))
    assert after.headers["etag"] == picture.headers["etag"]
    assert (await client.head(SUNSET, headers={"If-None-Match": picture.headers["etag"]})).status_code == 304


async def test_options_grant_every_origin(client: httpx.AsyncClient, services: MemoryServices) -> None:
    for url in (SUNSET, "/64x64.jpg", "/9x9.gif"):
        answer = await client.options(url, headers={"Origin": "https://world.test"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert services.image_provider.submits == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"])
async def test_other_methods_are_refused(client: httpx.AsyncClient, services: MemoryServices, method: str) -> None:
    answer = await client.request(method, SUNSET) if method != "get" else await _lower_case_get(services)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["code"] == "method_not_allowed"
    assert services.image_provider.submits == 0


async def _lower_case_get(services: MemoryServices) -> httpx.Response:
    """httpx writes methods in capitals, so this one is asked by hand."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(services=services)(scope_of(SUNSET, "get"), None, send)  # type: ignore[arg-type]
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])


# --- failures ------------------------------------------------------------------------------------


async def test_a_wrong_url_is_a_problem_that_nobody_keeps(client: httpx.AsyncClient) -> None:
    answer = await client.get("/9999x64.jpg?text=a")
    assert answer.status_code == 400
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail", "code"}
    assert told["type"] == "urn:copperplate:error:invalid_size"
    assert (told["status"], told["code"]) == (400, "invalid_size")
    assert "9999" in told["detail"]
    assert dict(answer.headers) == {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": (
            "Cache-Status, Content-Range, Location, Preference-Applied, Retry-After, X-Copperplate-Ignored"
        ),
        "content-type": "application/problem+json",
        "content-length": str(len(answer.content)),
    }


@pytest.mark.parametrize(
    ("failure_class", "status", "rest"),
    [
        (FailureClass.MODERATED, 422, range(86_300, 86_401)),
        (FailureClass.TRANSIENT, 503, range(1, 61)),
        (FailureClass.BAD_OUTPUT, 502, range(1, 61)),
    ],
)
async def test_a_failure_is_remembered_and_says_when_to_come_back(
    failure_class: FailureClass, status: int, rest: range
) -> None:
    services = memory_services(failures=[ProviderFailed(failure_class, "the provider's own secret words")])
    async with reach(services) as client:
        for _ in range(2):
            answer = await client.get(SUNSET)
            assert answer.status_code == status
            assert answer.json()["code"] == "generation_failed"
            assert int(answer.headers["retry-after"]) in rest
            assert answer.headers["cache-control"] == "no-store"
            assert "etag" not in answer.headers
            assert "secret words" not in answer.text
        assert (await client.head(SUNSET)).status_code == status
    assert services.image_provider.submits == 1
    assert (await stats(services)).total_requests == 2
    await services.request_meter.close()


async def test_the_wait_ends_but_not_the_work() -> None:
    provider = GatedProvider(FakeClock())
    services = memory_services(provider=provider, wait_seconds=0.05)
    async with reach(services) as client:
        early = await client.get(SUNSET)
        assert early.status_code == 503
        assert early.json()["code"] == "still_generating"
        assert early.headers["retry-after"] == "5"
        assert early.headers["cache-control"] == "no-store"
        provider.gate.set()
        await services.coordinator.shut_down(within_seconds=5)
        assert (await client.get(SUNSET)).headers["x-cache"] == "HIT"
    assert provider.submits == 1
    await services.request_meter.close()


async def test_an_error_nobody_planned_tells_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    prompt = "A beautiful sunset"
    services = memory_services(environ={"COPPERPLATE_MEMORY_PICTURES": "0"})

    async def explode(path: str) -> bytes:
        raise RuntimeError(prompt)

    async with reach(services) as client:
        await client.get(SUNSET)
        services.store.get = explode  # type: ignore[method-assign]
        answer = await client.get(SUNSET)
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert answer.headers["cache-control"] == "no-store"
    assert "sunset" not in answer.text
    assert "RuntimeError" in caplog.text
    assert "explode" in caplog.text
    assert "sunset" not in caplog.text


# --- callers that go away ------------------------------------------------------------------------


async def test_a_caller_that_is_cancelled_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    provider = GatedProvider(FakeClock())
    services = memory_services(provider=provider)
    async with reach(services) as client:
        user_requests = asyncio.create_task(client.get(SUNSET))
        await provider.began.wait()
        user_requests.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user_requests
        provider.gate.set()
        await services.coordinator.shut_down(within_seconds=5)
        assert (await client.get(SUNSET)).headers["x-cache"] == "HIT"
    assert provider.submits == 1
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    await services.request_meter.close()


async def test_a_caller_that_hung_up_is_no_error(services: MemoryServices, caplog: pytest.LogCaptureFixture) -> None:
    async def send(message: Any) -> None:
        raise BrokenPipeError

    await create_app(services=services)(scope_of(SUNSET), None, send)  # type: ignore[arg-type]
    assert services.image_provider.submits == 1
    assert (await stats(services)).total_requests == 1
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


# --- counting and logging ------------------------------------------------------------------------


async def test_every_get_of_a_picture_counts_once(client: httpx.AsyncClient, services: MemoryServices) -> None:
    etag = (await client.get(SUNSET)).headers["etag"]
    await client.get(SUNSET)
    await client.get(SUNSET, headers={"If-None-Match": etag})
    await client.head(SUNSET)
    await client.options(SUNSET)
    await client.get("/9999x64.jpg?text=a")
    row = await stats(services)
    assert (row.total_requests, row.total_misses, row.total_hits) == (3, 1, 2)


async def test_bytes_are_counted_where_they_are_sent(services: MemoryServices, client: httpx.AsyncClient) -> None:
    counted: list[tuple[str, int]] = []
    count = services.request_meter.count

    def watch(request: Any, outcome: Any, *, size_bytes: int, seconds: float, tier: Tier | None = None) -> None:
        counted.append((outcome.value, size_bytes))
        assert 0 <= seconds < 60
        count(request, outcome, size_bytes=size_bytes, seconds=seconds, tier=tier)

    services.request_meter.count = watch  # type: ignore[method-assign]
    picture = await client.get(SUNSET)
    await client.get(SUNSET)
    await client.get(SUNSET, headers={"If-None-Match": picture.headers["etag"]})
    size = len(picture.content)
    assert counted == [("generated", size), ("hit", size), ("hit", 0)]


async def test_one_log_line_a_request_without_the_prompt(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copperplate.requests")
    picture = await client.get(SUNSET)
    await client.head("/64x64.jpg?text=nothing")
    await client.get("/9999x64.jpg?text=secret")
    lines = [record.getMessage() for record in caplog.records if record.name == "copperplate.requests"]
    assert len(lines) == 3
    key = picture.headers["x-copperplate-key"][:12]
    assert lines[0].startswith(f"method=GET status=200 outcome=generated tier=provider key={key} ms=")
    assert re.fullmatch(r".* ms=[0-9.]+ bytes=[0-9]+ cost_micro_usd=[1-9][0-9]* saved_micro_usd=0", lines[0])
    assert f" bytes={len(picture.content)} " in lines[0]
    assert lines[1].startswith("method=HEAD status=404 outcome=failed tier=none key=")
    assert lines[2].startswith("method=GET status=400 outcome=- tier=- key=-")
    assert not any(word in caplog.text for word in ("sunset", "nothing", "secret"))


async def test_a_picture_that_the_caller_holds_in_another_form_is_looked_up_once(
    services: MemoryServices, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    acquire = services.ledger.acquire

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        return await acquire(*args, **options)

    monkeypatch.setattr(services.ledger, "acquire", counted)
    for number, label in ((1, "MISS"), (2, "HIT")):
        response = await client.get("/64x64.jpg?text=held", headers={"if-none-match": '"another"'})
        assert (response.status_code, response.headers["x-cache"], looks) == (200, label, number)
    assert services.store.gets == 1  # the miss had its bytes at hand
