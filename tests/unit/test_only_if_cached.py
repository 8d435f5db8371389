"""`only-if-cached`: what is stored or 504, and nothing is made, however it is asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.http.preferences import NONE, Preferences, read_preferences
from copperplate.model import Outcome
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOX = "/256x256.jpg?text=a%20red%20fox"
CACHED = {"cache-control": "only-if-cached"}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services()
    yield made
    await made.request_meter.close()


async def outcomes(services: MemoryServices) -> dict[str, int]:
    """How many requests had each outcome."""
    await services.request_meter.flush()
    return {row.outcome: row.requests for row in (await services.ledger.usage_totals()).usage}


def is_not_cached(answer: httpx.Response) -> bool:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "etag" not in answer.headers
    return answer.status_code == 504 and (answer.request.method == "HEAD" or answer.json()["code"] == "not_cached")


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (FOX, CACHED),
        (FOX, {"cache-control": "max-age=0, ONLY-if-cached ,no-transform"}),
        (FOX, {"sec-purpose": "prefetch"}),
        (FOX, {"sec-purpose": "Prefetch;prerender"}),
        (FOX, {**CACHED, "prefer": "respond-async"}),
        (f"{FOX}&only-if-cached", {}),
        (f"{FOX}&only-if-cached=0", {"prefer": "respond-async, wait=9"}),
        (f"/256x256.png?only%2Dif-cached=&w=64&{FOX.partition('?')[2]}", {}),
        (FOX.replace(".jpg", ".auto"), {**CACHED, "accept": "image/avif"}),
        (f"{FOX.replace('.jpg', '.auto')}&only-if-cached", {"accept": "image/webp"}),
        (FOX.replace(".jpg", ".jpeg"), {**CACHED, "if-none-match": "*"}),
    ],
)
async def test_what_is_not_stored_is_not_made(
    client: httpx.AsyncClient, services: MemoryServices, url: str, headers: dict[str, str]
) -> None:
    assert is_not_cached(await client.get(url, headers=headers))
    assert is_not_cached(await client.head(url, headers=headers))
    assert services.image_provider.submits == 0
    # Nobody went without a picture that they wanted: it is counted as nothing.
    assert await outcomes(services) == {}
    await client.get(FOX)
    kept = await client.get(url, headers=headers)
    whole = 304 if "if-none-match" in headers else 200
    assert (kept.status_code, kept.headers["x-cache"], "x-copperplate-ignored" in kept.headers) == (whole, "HIT", False)
    assert (await client.head(url, headers=headers)).status_code == whole
    assert (services.image_provider.submits, await outcomes(services)) == (1, {Outcome.GENERATED: 1, Outcome.HIT: 1})


async def test_the_parameter_is_in_no_key(client: httpx.AsyncClient) -> None:
    plain, cached = await client.get(FOX), await client.get(f"{FOX}&only-if-cached")
    for name in ("etag", "x-copperplate-key", "x-copperplate-generation-key", "cache-control"):
        assert plain.headers[name] == cached.headers[name]
    twice = await client.get(f"{FOX}&only-if-cached&only-if-cached")
    assert (twice.status_code, twice.json()["code"]) == (400, "invalid_query")


@pytest.mark.parametrize(
    "headers",
    [
        {"cache-control": "no-cache"},
        {"cache-control": 'max-age=0, x="only-if-cached"'},
        {"cache-control": "not-only-if-cached"},
        {"pragma": "only-if-cached"},
        {"sec-purpose": "fetch"},
        {"sec-purpose": "prefetched"},
        {"sec-purpose": '"prefetch"'},
    ],
)
async def test_whatever_says_something_else_has_the_picture_made(
    client: httpx.AsyncClient, services: MemoryServices, headers: dict[str, str]
) -> None:
    assert (await client.get(FOX, headers=headers)).status_code == 200
    assert services.image_provider.submits == 1


async def test_a_remembered_failure_is_no_stored_picture(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.image_provider.failures.append(
        ProviderFailed(FailureClass.MODERATED, "no", retry_after=timedelta(hours=1))
    )
    assert (await client.get(FOX)).status_code == 422
    assert is_not_cached(await client.get(FOX, headers=CACHED))
    assert await outcomes(services) == {Outcome.FAILED: 1}


async def test_what_never_generates_answers_as_ever(client: httpx.AsyncClient, services: MemoryServices) -> None:
    for url in (f"{FOX}&placeholder", f"/api/images/{'0' * 64}"):
        plain, cached = await client.get(url), await client.get(url, headers=CACHED)
        assert (plain.status_code, plain.content) == (cached.status_code, cached.content)
        assert plain.status_code == 404
    assert services.image_provider.submits == 0


async def test_a_key_that_is_not_valid_is_refused_all_the_same(client: httpx.AsyncClient) -> None:
    assert (await client.get(FOX, headers={**CACHED, "x-api-key": "cp_wrong"})).status_code == 401


async def test_a_preload_is_answered_while_nothing_may_be_spent() -> None:
    for settings in ({"COPPERPLATE_DAILY_BUDGET_USD": "0"}, {"COPPERPLATE_ACCESS": "keys"}):
        services = memory_services(environ=settings)
        transport = httpx.ASGITransport(create_app(services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
            assert is_not_cached(await client.get(FOX, headers={"sec-purpose": "prefetch"}))
        await services.request_meter.close()


# --- reading headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], NONE),
        ([(b"accept", b"*/*"), (b"x-prefer", b"respond-async")], NONE),
        ([(b"prefer", b"respond-async")], Preferences(is_async=True)),
        ([(b"prefer", b"wait=10, Respond-Async; a=b")], Preferences(is_async=True, wait_seconds=10)),
        ([(b"prefer", b"a"), (b"prefer", b"wait = 3"), (b"prefer", b"wait=4")], Preferences(wait_seconds=3)),
        ([(b"prefer", b'wait="7";x="a,b"')], Preferences(wait_seconds=7)),
        ([(b"prefer", b'x="\\"", respond-async')], Preferences(is_async=True)),
        ([(b"prefer", b'x="\\", respond-async')], Preferences()),
        ([(b"prefer", b'"' * 20_001 + b",respond-async")], Preferences()),
        ([(b"prefer", b'\\",' * 10_000)], Preferences()),
        ([(b"cache-control", b"a"), (b"cache-control", b"only-if-cached")], Preferences(is_cached_only=True)),
        ([(b"cache-control", b"x," * 20_000 + b"only-if-cached")], Preferences(is_cached_only=True)),
        ([(b"sec-purpose", b"prefetch;anonymous-client-ip")], Preferences(is_cached_only=True)),
    ],
)
def test_preferences_are_read_as_their_grammars_have_them(
    headers: list[tuple[bytes, bytes]], expected: Preferences
) -> None:
    assert read_preferences(headers) == expected
