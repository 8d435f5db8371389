"""Signing in over HTTP: one header, RFC 6750; a forged token opens nothing and is no error of ours."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.http.app import create_app
from tests.support.forged_tokens import forged
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.tokens import SECRET, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ASK = ("POST", "/api/generate-memoji")
INVALID = 'Bearer error="invalid_token"'


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    yield made
    await made.request_meter.close()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(LOCAL_ISSUER, SystemClock().now())


async def test_forged_tokens_make_nothing_and_are_told_why(
    client: httpx.AsyncClient, services: MemoryServices, tokens: Tokens
) -> None:
    for case in forged(tokens):
        if LOCAL_ISSUER in case.name or not case.token.strip():
            continue
        headers = {b"authorization": f"Bearer {case.token}".encode()}
        answer = await client.request(*ASK, headers=headers, json={})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), case
        assert answer.headers["www-authenticate"] == INVALID, case
        assert answer.headers["cache-control"] == "no-store", case
        assert len(case.token) < 20 or case.token not in answer.text, case
    assert services.image_provider.submits == 0
    assert services.ledger._requests == {}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_scheme_may_be_in_any_case(client: httpx.AsyncClient, tokens: Tokens, scheme: str) -> None:
    answer = await client.get("/api/credits", headers={"authorization": f"{scheme} {tokens.hs()}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("before", ["", "Bearer", "Bearer  ", "Bearer\t", "Bearer,", "Bearer=", "Token ", "JWT "])
async def test_token_has_one_place(client: httpx.AsyncClient, tokens: Tokens, before: str) -> None:
    answer = await client.get("/api/credits", headers={"authorization": before + tokens.hs()})
    assert answer.status_code == 401


async def test_token_in_the_address_or_in_a_cookie_is_none(client: httpx.AsyncClient, tokens: Tokens) -> None:
    token = tokens.hs()
    answer = await client.get(f"/api/credits?access_token={token}", headers={"cookie": f"access_token={token}"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_server_without_users_says_what_to_set_before_anything_else() -> None:
    services = memory_services()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(services=services)), base_url="http://pictures.test"
    ) as client:
        answer = await client.request(*ASK, headers={"authorization": "Bearer a.b.c"}, json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured")
        assert "SUPABASE_URL" in answer.json()["detail"]
        assert (await client.request(*ASK, json={})).status_code == 401
    await services.request_meter.close()


def test_verifier_that_nobody_asks_loads_nothing() -> None:
    program = (
        "import sys; from copperplate.adapters.system_clock import SystemClock\n"
        "from copperplate.compose import make_verifier; from copperplate.settings import Settings\n"
        "env = dict(SUPABASE_URL='https://project.example', SUPABASE_JWT_SECRET='s' * 32)\n"
        "make_verifier(Settings.from_env(env), SystemClock())\n"
        "print([name for name in ('jwt', 'cryptography', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
