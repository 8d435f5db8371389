"""What operators call, by an API key: the scope decides, and the secret that is set goes on to work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.access.api_keys import make_key
from copperplate.api_keys import Scope
from copperplate.http.app import create_app
from tests.support.api_keys import keep_key, wrong_keys
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A secret that begins as a key does is still the secret.
CRON, METRICS = "cp_the-secret-of-the-cron-0123456789", "the-token-of-the-metrics"
ROUTES = {("POST", "/api/cache/cleanup"): Scope.PURGE, ("GET", "/metrics"): Scope.ADMIN}
SECRETS = {"/api/cache/cleanup": CRON, "/metrics": METRICS}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(
        environ={
            "CRON_SECRET": CRON,
            "COPPERPLATE_METRICS_TOKEN": METRICS,
            "COPPERPLATE_TRUSTED_PROXIES": "127.0.0.1",
        }
    )
    yield made
    await made.request_meter.close()


@pytest.mark.parametrize(("route", "scope"), ROUTES.items())
async def test_scope_of_a_key_decides(
    client: httpx.AsyncClient, services: MemoryServices, route: tuple[str, str], scope: Scope
) -> None:
    right = await keep_key(services.ledger, scope)
    others = await keep_key(services.ledger, *(set(Scope) - {scope}))
    for headers in ({"authorization": f"Bearer {right.text}"}, {"x-api-key": right.text}):
        assert (await client.request(*route, headers=headers)).status_code == 200
    for headers in ({"authorization": f"Bearer {others.text}"}, {"x-api-key": others.text}):
        answer = await client.request(*route, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
        assert f"`{scope}`" in answer.json()["detail"]
        assert answer.headers["cache-control"] == "no-store"
    visible = await keep_key(services.ledger, is_visible=True)
    assert (await client.request(*route, params={"key": visible.text})).status_code in (400, 403)


@pytest.mark.parametrize("route", ROUTES)
async def test_secret_goes_on_to_work(client: httpx.AsyncClient, route: tuple[str, str]) -> None:
    secret = SECRETS[route[1]]
    assert (await client.request(*route, headers={"authorization": f"Bearer {secret}"})).status_code == 200
    for wrong in ("", secret[:-1], f"{secret}x", "a.b.c", "undefined", "None"):
        answer = await client.request(*route, headers={"authorization": f"Bearer {wrong}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert "www-authenticate" in answer.headers
    assert (await client.request(*route)).status_code == 401


@pytest.mark.parametrize("route", ROUTES)
async def test_wrong_keys_open_nothing(
    client: httpx.AsyncClient, services: MemoryServices, route: tuple[str, str]
) -> None:
    kept = await keep_key(services.ledger, *Scope)
    revoked = await keep_key(services.ledger, *Scope)
    await services.ledger.revoke_api_key(revoked.record.prefix)
    for number, text in enumerate([*wrong_keys(kept.text), make_key().text, revoked.text]):
        headers = {b"x-api-key": text.encode(), b"x-forwarded-for": f"192.0.2.{number}".encode()}
        answer = await client.request(*route, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), text
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_key_opens_what_no_secret_was_set_for() -> None:
    services = memory_services()
    kept = await keep_key(services.ledger, *Scope)
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        for route in ROUTES:
            assert (await client.request(*route, headers={"x-api-key": kept.text})).status_code == 200
            closed = await client.request(*route, headers={"authorization": "Bearer something"})
            assert (closed.status_code, closed.json()["code"]) == (503, "misconfigured")
    await services.request_meter.close()
