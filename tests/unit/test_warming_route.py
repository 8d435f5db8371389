"""`POST /api/cache/warm`: a batch of the key's for what is missing, and what it would come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.adapters.supabase.users import make_local_token
from copperplate.api_keys import Scope
from copperplate.http.batches import MAX_FAULTS
from copperplate.http.warming import MEMBERS
from copperplate.wishes import Priority, Purpose
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

POST = "/api/cache/warm"
PROMPTS = {"prompts": ["a red fox", "a blue fox", "a red fox"], "dimensions": "64x64"}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    yield made
    await made.request_meter.close()


@pytest.fixture
async def key(services: MemoryServices) -> dict[str, str]:
    return {"authorization": f"Bearer {(await keep_key(services.ledger)).text}"}


@pytest.fixture
async def admin(services: MemoryServices) -> dict[str, str]:
    made = await keep_key(services.ledger, Scope.GENERATE, Scope.ADMIN)
    return {"authorization": f"Bearer {made.text}"}


def kept_by(services: MemoryServices) -> int:
    return len(services.ledger._wish_batches) + len(services.ledger._wishes)


async def see(client: httpx.AsyncClient, text: str, key: dict[str, str], times: int = 1) -> None:
    for _ in range(times):
        answer = await client.get("/64x64.jpg", params={"text": text}, headers=key)
        assert answer.status_code == 200


async def test_what_is_missing_is_kept_as_a_batch_of_the_key_and_made_by_work(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    await see(client, "a blue fox", key)
    answer = await client.post(POST, json=PROMPTS, headers=key)
    told = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/batches/{told['batch']}")
    assert told["events"] == f"http://pictures.test/api/batches/{told['batch']}/events"
    counts = ("pictures", "duplicates", "existing", "missing", "left_out", "requests_to_break_even")
    assert [told[name] for name in counts] == [2, 1, 1, 1, 0, 1]
    assert (told["cost_usd"], told["booked_usd"], told["unknown_prices"]) == (0.003, 0.003, 0)
    [batch] = services.ledger._wish_batches.values()
    assert batch.asked.purpose is Purpose.WARM
    assert {wish.priority for wish in batch.asked.wishes} == {Priority.LOW}
    assert {(wish.spending and wish.spending.payer) for wish in batch.asked.wishes} == {batch.asked.owner}
    assert batch.asked.owner.startswith("key:")
    assert services.work.is_due
    assert services.image_provider.submits == 1
    await services.work.run(within_seconds=60)
    assert services.image_provider.submits == 2
    seen = (await client.get(answer.headers["location"], headers=key)).json()
    assert (seen["status"], seen["counts"]["completed"], seen["cached"]) == ("completed", 2, 1)


async def test_a_dry_run_writes_nothing(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    answer = await client.post(POST, json={**PROMPTS, "dry_run": True}, headers=key)
    told = answer.json()
    assert (answer.status_code, told["dry_run"], told["missing"], told["batch"]) == (200, True, 2, None)
    assert kept_by(services) == 0


async def test_money_pays_for_as_many_as_it_does(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    told = (await client.post(POST, json={**PROMPTS, "max_usd": 0.0059}, headers=key)).json()
    assert (told["missing"], told["left_out"], told["booked_usd"]) == (2, 1, 0.003)
    assert [wish.asked.recipe["prompt"] for wish in services.ledger._wishes.values()] == ["a red fox"]
    answer = await client.post(POST, json={"prompts": ["a wren"], "max_usd": 0}, headers=key)
    assert (answer.status_code, answer.json()["left_out"], answer.json()["batch"]) == (200, 1, None)


async def test_items_take_what_they_do_not_say_from_the_body(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    items = [{"prompt": "a"}, {"prompt": "b", "width": 128, "height": 64}, {"prompt": "c", "format": "webp", "n": 2}]
    await client.post(POST, json={"items": items, "dimensions": "64x64", "format": "png"}, headers=key)
    paths = [row.asked.paths[0] for row in services.ledger._wishes.values()]
    assert paths == ["/64x64.png?text=a", "/128x64.png?text=b", "/64x64.webp?text=c", "/64x64.webp?text=c&seed=1"]


async def test_one_idempotency_key_is_one_batch_whatever_exists_by_then(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    headers = {**key, "idempotency-key": "nightly"}
    first = (await client.post(POST, json=PROMPTS, headers=headers)).json()
    await services.work.run(within_seconds=60)
    assert (await client.post(POST, json=PROMPTS, headers=headers)).json()["batch"] == first["batch"]
    other = await client.post(POST, json={**PROMPTS, "format": "png"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_what_was_asked_for_most_is_warmed_again_and_in_another_size(
    client: httpx.AsyncClient, services: MemoryServices, admin: dict[str, str]
) -> None:
    await see(client, "a red fox", admin, times=3)
    await see(client, "a blue fox", admin, times=2)
    await services.request_meter.flush()
    answer = await client.post(POST, json={"popular_days": 7}, headers=admin)
    assert (answer.json()["existing"], answer.json()["missing"]) == (2, 0)
    larger = {"popular_days": 7, "top": 1, "dimensions": "128x128"}
    assert (await client.post(POST, json=larger, headers=admin)).json()["missing"] == 1
    [path] = list(services.ledger._wishes.values())[-1].asked.paths
    assert path.startswith("/128x128.jpg?text=a%20red%20fox")


async def test_popular_pictures_of_models_that_are_not_offered_any_more_are_left_out(
    client: httpx.AsyncClient, services: MemoryServices, admin: dict[str, str]
) -> None:
    await see(client, "a red fox", admin, times=2)
    await services.request_meter.flush()
    services.image_provider.models = ("another",)
    answer = await client.post(POST, json={"popular_days": 7, "dry_run": True}, headers=admin)
    assert (answer.status_code, answer.json()["pictures"]) == (200, 0)


async def test_what_others_ask_for_is_not_told_to_every_key(
    client: httpx.AsyncClient, services: MemoryServices, key: dict[str, str]
) -> None:
    answer = await client.post(POST, json={"popular_days": 7}, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


async def test_only_a_key_that_may_generate_warms(client: httpx.AsyncClient, services: MemoryServices) -> None:
    user = {"authorization": f"Bearer {make_local_token(UUID(int=7), SECRET, seconds=600)}"}
    for headers, status, code in (({}, 401, "unauthorized"), (user, 403, "warming_needs_key")):
        answer = await client.post(POST, json=PROMPTS, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    purge = await keep_key(services.ledger, Scope.PURGE)
    answer = await client.post(POST, json=PROMPTS, headers={"x-api-key": purge.text})
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert kept_by(services) == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_batch"),
        ({"prompts": ["a"], "items": [{"prompt": "a"}]}, "invalid_batch"),
        ({"prompts": []}, "invalid_batch"),
        ({"prompts": "a fox"}, "invalid_batch"),
        ({"prompts": ["a"] * 1_001}, "invalid_batch"),
        ({"items": [{"prompt": "a", "n": 16}] * 63}, "invalid_batch"),
        ({"prompts": ["a", 7, ""]}, "invalid_items"),
        ({"prompts": ["a"], "dimensions": "large"}, "invalid_items"),
        ({"prompts": ["a"], "dimensions": 64}, "invalid_items"),
        ({"prompts": ["a"], "model": "no such"}, "invalid_items"),
        ({"items": [[]]}, "invalid_items"),
        ({"items": ["a"], "format": "png"}, "invalid_items"),
        ({"prompts": ["a"], "dry_run": "yes"}, "invalid_body"),
        ({"prompts": ["a"], "max_usd": "1"}, "invalid_body"),
        ({"prompts": ["a"], "max_usd": -1}, "invalid_body"),
        ({"prompts": ["a"], "max_usd": True}, "invalid_body"),
        ({"prompts": ["a"], "max_usd": 1e300}, "invalid_body"),
        ({"prompts": ["a"], "top": 7}, "invalid_body"),
        ({"prompts": ["a"], "dryrun": True}, "unknown_parameter"),
        ({"popular_days": 0}, "invalid_body"),
        ({"popular_days": 366}, "invalid_body"),
        ({"popular_days": True}, "invalid_body"),
        ({"popular_days": 7, "top": 1_001}, "invalid_body"),
    ],
)
async def test_bad_bodies_keep_nothing(
    client: httpx.AsyncClient, services: MemoryServices, admin: dict[str, str], body: dict[str, Any], code: str
) -> None:
    answer = await client.post(POST, json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert kept_by(services) == 0


async def test_faulty_items_are_named_by_their_places(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    told = (await client.post(POST, json={"prompts": ["a", "", "b", ""]}, headers=key)).json()
    assert [(item["index"], item["code"]) for item in told["items"]] == [(1, "invalid_text"), (3, "invalid_text")]
    many = (await client.post(POST, json={"prompts": [""] * 100}, headers=key)).json()
    assert len(many["items"]) == MAX_FAULTS


async def test_a_parameter_in_the_address_is_refused(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    answer = await client.post(f"{POST}?dry_run=true", json=PROMPTS, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")


async def test_the_document_knows_every_member(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()["components"]["schemas"]["WarmBody"]
    assert set(schema["properties"]) == set(MEMBERS)
