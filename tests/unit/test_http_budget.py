"""`GET /api/budget`: what a caller may still spend, and what nobody else is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.access.api_keys import make_key
from copperplate.access.caller import Caller
from copperplate.adapters.memory.clock import FakeClock
from copperplate.api_keys import Scope
from copperplate.budgets import Budget
from copperplate.http.routes import budget as route
from copperplate.model import User
from copperplate.ports.access import NewApiKey
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    import httpx

    from copperplate.ports.access import ApiKeyRecord

SUNSET = "/64x64.jpg?text=sunset"
NAMES = {
    "budget", "used_usd", "cap_usd", "left_usd", "used_pictures", "cap_pictures", "left_pictures", "resets_at",
    "override_until",
}  # fmt: skip


@pytest.fixture
def services() -> MemoryServices:
    # A picture costs $0.003: an address has room for one.
    return memory_services(clock=FakeClock(), environ={"COPPERPLATE_DAILY_BUDGET_USD": "0.10"})


async def budgets(client: httpx.AsyncClient, **headers: str) -> dict[str, dict[str, Any]]:
    answer = await client.get("/api/budget", headers=headers)
    assert answer.status_code == 200, answer.text
    return {each["budget"]: each for each in answer.json()["budgets"]}


async def test_a_stranger_is_told_their_own_shares_and_the_whole(client: httpx.AsyncClient) -> None:
    assert (await client.get(SUNSET)).status_code == 200
    told = (await client.get("/api/budget")).json()
    assert {name: told[name] for name in ("success", "access", "billable")} == {
        "success": True,
        "access": "open",
        "billable": True,
    }
    shares = [(each["budget"], each["used_usd"], each["cap_usd"], each["left_usd"]) for each in told["budgets"]]
    assert shares == [("address", 0.003, 0.005, 0.002), ("anonymous", 0.003, 0.05, 0.047), ("all", 0.003, 0.1, 0.097)]
    assert all(each.keys() == NAMES and each["resets_at"].endswith("T00:00:00Z") for each in told["budgets"])


async def test_what_is_told_is_what_refuses(client: httpx.AsyncClient) -> None:
    assert (await client.get(SUNSET)).status_code == 200
    refused = await client.get("/64x64.jpg?text=another")
    assert (refused.status_code, refused.headers["cache-control"]) == (402, "no-store")
    own = (await budgets(client))["address"]
    problem = refused.json()
    assert {name: problem[name] for name in ("budget", "left_usd", "left_pictures", "resets_at")} == {
        name: own[name] for name in ("budget", "left_usd", "left_pictures", "resets_at")
    }
    assert 0 < int(refused.headers["retry-after"]) <= 86_400


async def test_no_answer_names_an_address(client: httpx.AsyncClient) -> None:
    await client.get(SUNSET)
    text = (await client.get("/api/budget")).text + (await client.get("/64x64.jpg?text=another")).text
    assert "127.0.0.1" not in text
    assert "address:" not in text


async def test_a_user_is_told_their_own_and_nobody_elses(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = uuid4(), uuid4()
    await services.ledger.set_budget(f"user:{other}", 9_000_000, None)
    await services.ledger.set_budget(f"prepaid/user:{mine}", 2_000_000, None)
    as_caller(monkeypatch, Caller(user=User(id=mine)))
    assert {name: each["cap_usd"] for name, each in (await budgets(client)).items()} == {
        f"user:{mine}": 0.01,
        f"prepaid/user:{mine}": 2.0,
        "all": 0.1,
    }


async def test_an_anonymous_sign_in_shares_with_strangers(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User(id=uuid4(), is_anonymous=True)
    as_caller(monkeypatch, Caller(user=user, address="192.0.2.1"))
    assert list(await budgets(client)) == [f"user:{user.id}", "address", "anonymous", "all"]


async def test_a_cap_of_the_operator_is_told(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await services.ledger.set_budget("anonymous", 0, 3)
    told = (await budgets(client))["anonymous"]
    assert (told["cap_usd"], told["left_usd"], told["cap_pictures"], told["left_pictures"]) == (0.0, 0.0, 3, 3)


async def test_without_a_wall_there_is_nothing_left_to_tell() -> None:
    services = memory_services(environ={"COPPERPLATE_DAILY_BUDGET_USD": "off"})
    states = await services.ledger.read_budgets(services.gate.budgets_of(Caller()))
    assert {(state.cap_micro_usd, state.left_micro_usd) for state in states} == {(None, None)}


@pytest.mark.parametrize("amount", [1, 999_999, 10**15, 10**15 - 1, 123_456_789_012_345])
async def test_amounts_are_exact_to_a_millionth(
    client: httpx.AsyncClient, services: MemoryServices, amount: int
) -> None:
    await services.ledger.set_budget("all", amount, None)
    text = (await client.get("/api/budget")).text
    told = json.loads(text, parse_float=str)
    [wall] = [each for each in told["budgets"] if each["budget"] == "all"]
    assert round(float(wall["cap_usd"]) * 1_000_000) == amount
    assert (await services.ledger.read_budgets([Budget(name="all")]))[0].cap_micro_usd == amount


async def test_it_is_not_kept_and_any_origin_may_ask(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/budget?utm_source=x", headers={"origin": "https://page.example"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-copperplate-ignored"] == "utm_source"
    assert "etag" not in answer.headers
    asked = await client.options("/api/budget", headers={"access-control-request-headers": "x-api-key"})
    assert (asked.status_code, asked.headers["access-control-allow-headers"]) == (204, "authorization, x-api-key")


async def key_of(services: MemoryServices, *scopes: Scope) -> tuple[str, ApiKeyRecord]:
    made = make_key()
    new = NewApiKey(
        prefix=made.prefix,
        digest=made.digest,
        name="",
        tier="standard",
        scopes=frozenset(scopes),
        cap_micro_usd=700_000,
    )
    return made.text, await services.ledger.create_api_key(new)


async def test_a_key_is_told_its_own_and_nobody_elses(client: httpx.AsyncClient, services: MemoryServices) -> None:
    text, record = await key_of(services, Scope.GENERATE, Scope.PURGE)
    await services.ledger.set_budget(f"user:{uuid4()}", 1, None)
    assert (await client.get(SUNSET, headers={"x-api-key": text})).status_code == 200
    for header, value in (("x-api-key", text), ("authorization", f"Bearer {text}")):
        told = await budgets(client, **{header: value})
        assert [(name, each["used_usd"]) for name, each in told.items()] == [
            (f"key:{record.id}", 0.003),
            ("all", 0.003),
        ]


async def test_a_key_of_scope_admin_is_told_everything_but_addresses(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    text, _ = await key_of(services, Scope.ADMIN)
    user = f"user:{uuid4()}"
    await services.ledger.set_budget(user, 1, None)
    await client.get(SUNSET)
    answer = await client.get("/api/budget", headers={"x-api-key": text})
    told = {each["budget"]: each for each in answer.json()["budgets"]}
    assert {"all", "anonymous", user, "provider:scripted", "model:scripted/copperplate/painter-1", "address:*"} <= set(
        told
    )
    assert told["address:*"]["used_usd"] == 0.003
    assert "127.0.0.1" not in answer.text
    assert told["all"]["cap_usd"] == 0.1


async def test_a_key_that_is_none_is_refused_and_not_taken_for_a_stranger(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/budget", headers={"x-api-key": make_key().text})
    assert (answer.status_code, answer.headers["cache-control"]) == (401, "no-store")


def as_caller(monkeypatch: pytest.MonkeyPatch, caller: Caller) -> None:
    async def known(*_: object) -> Caller:
        return caller

    monkeypatch.setattr(route, "caller_of", known)
