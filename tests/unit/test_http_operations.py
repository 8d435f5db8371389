"""Readiness and metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager
from prometheus_client.parser import text_string_to_metric_families

from copperplate.access.api_keys import make_key
from copperplate.api_keys import Scope
from copperplate.errors import LedgerUnavailable, StoreUnavailable
from copperplate.feed import Tier
from copperplate.http.app import create_app
from copperplate.http.metrics import render
from copperplate.http.routes import operations as care_routes
from copperplate.model import Outcome
from copperplate.ports.access import NewApiKey
from copperplate.ports.statistics import KindStats, MoneySum, UsageSum, UsageTotals
from copperplate.ports.tiers import TierFigures
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "a token of the metrics"
FOX = "/64x64.jpg?text=a%20fox"


@pytest.fixture
def services() -> MemoryServices:
    return memory_services(environ={"COPPERPLATE_METRICS_TOKEN": TOKEN})


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        LifespanManager(create_app(services=services)) as manager,
        httpx.AsyncClient(transport=httpx.ASGITransport(manager.app), base_url="http://test") as opened,
    ):
        yield opened


# --- readiness -------------------------------------------------------------------------------------


async def test_ready_where_database_and_store_answer(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    assert answer.headers["cache-control"] == "no-store"


async def test_ready_behind_a_pooler_says_its_mode_and_not_its_place(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    async def behind_one() -> Any:
        return {"pooler": {"place": "10.0.0.7:6432", "mode": "transaction"}}

    services.ledger.check_setup = behind_one  # type: ignore[method-assign]
    assert (await client.get("/readyz")).json() == {"status": "ready", "pooler": "transaction"}


async def test_not_ready_without_a_database_but_alive(client: httpx.AsyncClient, services: MemoryServices) -> None:
    async def away() -> Any:
        raise LedgerUnavailable("it is down")

    services.ledger.check_setup = away  # type: ignore[method-assign]
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    assert (await client.get("/healthz")).status_code == 200


async def test_not_ready_without_a_store(client: httpx.AsyncClient, services: MemoryServices) -> None:
    async def away(path: str) -> bytes:
        raise StoreUnavailable("it is down")

    services.store.get = away  # type: ignore[method-assign]
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_what_is_silent_is_not_ready_in_time(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any) -> Any:
        await asyncio.Event().wait()

    assert care_routes.READY_SECONDS == 2  # as the OpenAPI document promises; too long for this test
    monkeypatch.setattr(care_routes, "READY_SECONDS", 0.01)
    services.store.get = silent  # type: ignore[method-assign, assignment]
    assert (await client.get("/readyz")).json()["code"] == "store_unavailable"
    services.ledger.check_setup = silent  # type: ignore[method-assign]
    assert (await client.get("/readyz")).json()["code"] == "ledger_unavailable"


# --- metrics ---------------------------------------------------------------------------------------


async def test_metrics_are_what_was_asked_made_and_saved(client: httpx.AsyncClient) -> None:
    for _ in range(4):
        await client.get(FOX)
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    requests = Counter[str]()
    for sample in families["copperplate_requests"].samples:  # hits of memory and of storage apart
        requests[sample.labels["outcome"]] += int(sample.value)
    assert requests == {"generated": 1, "hit": 3}
    [cost] = families["copperplate_cost_usd_total"].samples
    [saved] = families["copperplate_saved_usd_total"].samples
    assert saved.value == pytest.approx(3 * cost.value)
    assert cost.value > 0
    assert families["copperplate_pictures"].samples[0].value == 2  # the WebP beside it
    assert families["copperplate_generations_in_flight"].samples[0].value == 0
    hits = [each for each in families["copperplate_answer_seconds"].samples if each.labels["outcome"] == "hit"]
    buckets = [sample.value for sample in hits if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3 == next(sample.value for sample in hits if sample.name.endswith("_count"))
    assert hits[0].labels["le"] == "0.001"
    assert "fox" not in answer.text


@pytest.mark.parametrize("value", [None, "Bearer ", "Bearer None", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
async def test_metrics_need_the_token(client: httpx.AsyncClient, value: str | None) -> None:
    headers = {} if value is None else {"Authorization": value}
    answer = await client.get("/metrics", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_without_a_token_metrics_are_closed() -> None:
    transport = httpx.ASGITransport(create_app(services=memory_services()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (503, "misconfigured")
    assert "COPPERPLATE_METRICS_TOKEN" in answer.json()["detail"]


NOTHING = UsageTotals(usage=[], money=[], latency=[], in_flight=0, discarded=0, cdn_purges=[])
NOTHING_KEPT = KindStats(
    pictures=0,
    accesses=0,
    avg_accesses=None,
    size_bytes=0,
    stored_bytes=0,
    hits=0,
    misses=0,
    efficiency_percent=None,
    spent_micro_usd=0,
    saved_micro_usd=0,
)


def test_cost_of_nothing_can_be_told_from_a_cost_nobody_knows() -> None:
    money = MoneySum(
        kind="image",
        provider="fal",
        model="fal-ai/nobody",
        submits=2,
        estimated=0,
        unpriced=2,
        spent_micro_usd=0,
        saved=50,
        unpriced_saved=50,
        saved_micro_usd=0,
    )
    lines = render(replace(NOTHING, money=[money]), {"image": NOTHING_KEPT}, [], {}, []).splitlines()
    labels = '{kind="image",provider="fal",model="fal-ai/nobody"}'
    assert [line for line in lines if line.startswith("copperplate_unpriced")] == [
        f"copperplate_unpriced_generations_total{labels} 2",
        f"copperplate_unpriced_savings_total{labels} 50",
    ]


def test_names_of_models_cannot_break_a_line() -> None:
    row = UsageSum(
        kind="image",
        provider="p",
        model='a"b\\c\nd',
        outcome=Outcome.HIT.value,
        tier="storage",
        requests=1,
        bytes=2,
    )
    text = render(replace(NOTHING, usage=[row]), {"image": NOTHING_KEPT}, [], {}, [])
    [first, *_] = [family for family in text_string_to_metric_families(text) if family.samples]
    assert first.samples[0].labels["model"] == 'a"b\\c\nd'


async def test_what_is_in_tiers_is_told_where_it_is_known(client: httpx.AsyncClient, services: MemoryServices) -> None:
    disk = TierFigures(tier=Tier.DISK, entries=7, bytes=7_000, oldest_seconds=60.0, place="f0" * 16)
    for process, entries in ((uuid4(), 2), (uuid4(), 3)):
        memory = TierFigures(tier=Tier.MEMORY, entries=entries, bytes=100, oldest_seconds=None)
        await services.ledger.report_tiers(process, [memory, disk])
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}

    def figures(name: str) -> dict[str, float]:
        return {sample.labels["tier"]: sample.value for sample in families[f"copperplate_tier_{name}"].samples}

    assert figures("entries") == {"memory": 5, "disk": 7, "redis": 0}
    assert figures("bytes") == {"memory": 200, "disk": 7_000, "redis": 0}
    assert figures("oldest_seconds") == {"disk": pytest.approx(60, abs=5)}


async def test_spending_against_caps_is_told_of_budgets_and_of_no_person(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    user = f"user:{uuid4()}"
    for name in ("prepaid/link:blog", user, f"prepaid/{user}", 'model:fal/odd"name'):
        await services.ledger.set_budget(name, 2_000_000, 40)
    await client.get(FOX)
    made_key = make_key("AbCd1234")
    key = await services.ledger.create_api_key(
        NewApiKey(prefix="AbCd1234", digest=made_key.digest, name="", tier="t", scopes=frozenset({Scope.GENERATE}))
    )
    await services.ledger.set_budget(f"key:{key.id}", 1_000_000, None)
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}

    def figures(name: str) -> dict[str, float]:
        return {sample.labels["budget"]: sample.value for sample in families[f"copperplate_budget_{name}"].samples}

    made = {"all", "anonymous", "provider:scripted", "model:scripted/copperplate/painter-1"}
    assert figures("spent_usd") == {
        **dict.fromkeys(made, 0.003),
        **dict.fromkeys(("key:AbCd1234", "link:blog", "prepaid/link:blog", 'model:fal/odd"name'), 0),
    }  # fmt: skip
    assert figures("pictures").keys() == figures("spent_usd").keys()
    assert figures("cap_usd") == {
        "all": 5, "anonymous": 2.5, "key:AbCd1234": 1, "prepaid/link:blog": 2, 'model:fal/odd"name': 2,
    }  # fmt: skip
    assert figures("cap_pictures") == {"prepaid/link:blog": 40, 'model:fal/odd"name': 40}
    assert str(user) not in answer.text
    assert "127.0.0.1" not in answer.text
