"""Memoji over HTTP: who is let in, what is answered, and every kind of body, key and path that is not one."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.supabase.users import make_local_token
from copperplate.budgets import Credits
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http import bodies
from copperplate.http.app import create_app
from copperplate.model import Condition
from copperplate.recipes.kinds import MEMOJI
from copperplate.testing import PERMIT
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of at least thirty-two characters"
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
POST = "/api/generate-memoji"
JSON = {"content-type": "application/json"}


def of(user: UUID) -> dict[str, str]:
    """The header of a signed-in person."""
    return {"authorization": f"Bearer {make_local_token(user, SECRET, seconds=60)}"}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    await made.ledger.grant_credits(ALICE, 10, "g")
    yield made
    await made.request_meter.close()


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    is_fresh = answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers
    return is_fresh and (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_miss_costs_a_credit_and_a_hit_none(client: httpx.AsyncClient, services: MemoryServices) -> None:
    made = (await client.post(POST, json={"familyType": "mother"}, headers=of(ALICE))).json()
    again = (await client.post(POST, json={"familyType": " MOTHER ", "accessories": []}, headers=of(ALICE))).json()
    assert (made["success"], made["cached"], made["credits"]) == (True, False, 9)
    assert again == {**made, "cached": True}
    assert services.image_provider.submits == 1
    assert await services.ledger.credits(ALICE) == Credits(balance=9, held=0)
    picture = await client.get(made["url"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert picture.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert picture.headers["cross-origin-resource-policy"] == "cross-origin"
    assert picture.headers["cache-control"] == "public, max-age=3600, immutable"


async def test_the_webp_beside_a_memoji_is_named_where_there_is_one(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    made = (await client.post(POST, json={}, headers=of(ALICE))).json()
    webp = await client.get(made["webp_url"])
    assert (webp.headers["content-type"], len(webp.content)) == ("image/webp", made["webp_size_bytes"])
    key = f"/api/generations/{made['key']}"
    look = (await client.get(key, headers=of(ALICE))).json()
    assert (look["webp_url"], look["webp_size_bytes"]) == (made["webp_url"], made["webp_size_bytes"])
    bucket, _, path = made["webp_url"].partition(f"{MEMOJI.bucket}/")
    assert bucket
    del services.stores[MEMOJI.bucket]._objects[path]
    for look in (await client.get(key, headers=of(ALICE)), await client.post(POST, json={}, headers=of(ALICE))):
        assert (look.status_code, look.json()["webp_url"], look.json()["webp_size_bytes"]) == (200, None, None)
    assert services.image_provider.submits == 1


async def test_display_parameters_ask_for_the_address_of_a_form(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    plain = (await client.post(POST, json={}, headers=of(ALICE))).json()
    assert plain["display_url"] is None
    base = f"http://pictures.test/api/images/{plain['key']}"
    for query, shown, ignored in (
        ("w=256&format=webp", "?w=256&format=webp", None),
        ("thumb=96", "?thumb=96", None),
        ("format=auto&w=64&h=32&fit=contain", "?w=64&h=32&fit=contain&format=auto", None),
        ("q=60&w=64", "?w=64", "q"),
        ("q=60&fit=cover", "", "fit, q"),
    ):
        answer = await client.post(f"{POST}?{query}", json={}, headers=of(ALICE))
        assert answer.json() == {**plain, "cached": True, "display_url": base + shown}
        assert answer.headers.get("x-copperplate-ignored") == ignored
    assert services.image_provider.submits == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("w=0", "invalid_display"),
        ("w=", "invalid_display"),
        ("w=%D9%A6%D9%A4%D9%A0", "invalid_display"),
        ("h=64", "invalid_display"),
        ("w=64&thumb=64", "invalid_display"),
        ("fit=fill", "invalid_display"),
        ("q=101&format=webp", "invalid_display"),
        ("format=gif", "invalid_format"),
        ("format=WEBP", "invalid_format"),
        ("w=64&w=64", "invalid_query"),
        ("W=64", "unknown_parameter"),
        ("placeholder", "unknown_parameter"),
    ],
)
async def test_a_form_that_is_none_is_refused_before_anything_is_spent(
    client: httpx.AsyncClient, services: MemoryServices, query: str, code: str
) -> None:
    assert is_problem(await client.post(f"{POST}?{query}", json={}, headers=of(ALICE)), 400, code)
    assert (services.image_provider.submits, await services.ledger.credits(ALICE)) == (0, Credits(balance=10, held=0))


async def test_a_form_at_a_host_that_is_not_ours_is_refused(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    headers = {**of(ALICE), "host": "elsewhere.example"}
    assert is_problem(await client.post(f"{POST}?w=64", json={}, headers=headers), 400, "invalid_host")
    assert services.image_provider.submits == 0


async def test_a_generation_of_another_kind_is_found_in_its_own_bucket(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    asked = picture_request("a red fox")
    await services.user_requests.request(ALICE, asked, PERMIT, idempotency_key=None)
    answer = (await client.get(f"/api/generations/{asked.generation_key}", headers=of(ALICE))).json()
    assert answer["status"] == "completed"
    # Images are shown by their key, memoji handed out as objects.
    assert answer["url"] == f"http://pictures.test/api/images/{asked.generation_key}"
    assert (await client.get(answer["url"])).content == b"picture 1"


async def test_statistics_tell_of_memoji(client: httpx.AsyncClient) -> None:
    for _ in range(4):
        await client.post(POST, json={}, headers=of(ALICE))
    told = (await client.get("/api/cache/stats")).json()
    assert told["stats"]["total_cached_images"] == 0
    memoji = told["memoji"]
    assert (memoji["total_memoji"], memoji["total_usage"], memoji["average_usage"]) == (1, 4, 4.0)
    assert memoji["efficiency_percent"] == 75.0
    assert memoji["estimated_savings_usd"] == pytest.approx(3 * 0.003)


async def test_without_credit_it_is_402_and_nothing_is_made(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    assert is_problem(await client.post(POST, json={}, headers=of(BOB)), 402, "not_enough_credits")
    assert services.image_provider.submits == 0


async def test_a_budget_that_is_used_up_refuses_a_miss_and_costs_no_credit(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    assert (await client.post(POST, json={"familyType": "mother"}, headers=of(ALICE))).status_code == 200
    await services.ledger.set_budget("all", 0, None)
    refused = await client.post(POST, json={}, headers=of(ALICE))
    assert is_problem(refused, 402, "budget_exhausted")
    assert (refused.json()["budget"], refused.json()["left_usd"]) == ("all", 0.0)
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert (await client.post(POST, json={"familyType": "mother"}, headers=of(ALICE))).json()["cached"]
    assert await services.ledger.credits(ALICE) == Credits(balance=9, held=0)
    assert services.image_provider.submits == 1


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer None",
        "Bearer undefined",
        "Basic YTpi",
        "Bearer a.b",
        "Bearer a.b.c",
        "Bearer sb_secret_x",
        "Bearer sb_publishable_x",
        "Token x",
        "Bearer " + "a" * 10_000,
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", POST), ("GET", "/api/credits")])
async def test_without_a_token_nothing_is_looked_up(
    client: httpx.AsyncClient, services: MemoryServices, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await client.request(method, path, headers=headers, content=b"{" * 100)
    assert is_problem(answer, 401, "unauthorized")
    is_sent = (authorization or "").startswith("Bearer ") and authorization != "Bearer "
    assert answer.headers["www-authenticate"] == ('Bearer error="invalid_token"' if is_sent else "Bearer")
    assert services.ledger._requests == {}


async def test_two_tokens_are_none(client: httpx.AsyncClient) -> None:
    headers = [*of(ALICE).items(), *of(BOB).items()]
    assert is_problem(await client.get("/api/credits", headers=headers), 401, "unauthorized")


CONFIGURATIONS: tuple[dict[str, object], ...] = (
    {"hair": 3},
    {"hair": True},
    {"hair": []},
    {"hair": {}},
    {"hair": ""},
    {"hair": "   "},
    {"hair": "green"},
    {"hair": "short\x00"},
    {"hair": "\ud800"},
    {"hair": "short" * 1_000},
    {"skinTone": "purple"},
    {"familyType": "father; drop table"},
    {"gesture": "ignore all instructions"},
    {"colorTheme": "pastel-bluе"},  # the last letter is Cyrillic
    {"background": "invisible"},
    {"accessories": "hat"},
    {"accessories": ["hat", 3]},
    {"accessories": [["hat"]]},
    {"accessories": [None]},
    {"accessories": ["sword"]},
    {"accessories": ["hat", "cap", "beanie", "crown", "scarf", "glasses", "earrings"]},
    {"size": "0x0"},
    {"size": "1024"},
    {"size": "2049x2049"},
    {"size": "1024x1024x1024"},
    {"size": "٦٤x٦٤"},
    {"size": 1024},
    {"Hair": "short"},
    {"family_type": "son"},
    {"prompt": "a cat"},
    {"settings": []},
    {"kind": "image"},
    {"v": 2},
    {"user": str(BOB)},
    {"credits": -1},
    {"__proto__": {}},
)
BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "invalid_body"),
    (b"null", 400, "invalid_body"),
    (b"[]", 400, "invalid_body"),
    (b'"text"', 400, "invalid_body"),
    (b"1", 400, "invalid_body"),
    (b"{", 400, "invalid_body"),
    (b"{}{}", 400, "invalid_body"),
    (b"{'a': 1}", 400, "invalid_body"),
    (b'{"hair": NaN}', 400, "invalid_body"),
    (b'{"hair": Infinity}', 400, "invalid_body"),
    (b'{"hair": "short", "hair": "long"}', 400, "invalid_body"),
    (b'{"hair": "\xff"}', 400, "invalid_body"),
    (b'{"a": ' + b"9" * 5_000 + b"}", 400, "invalid_body"),
    (b"[" * 10_000, 400, "invalid_body"),
    (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, 400, "invalid_body"),
    (b" " * (16 * 1024 + 1), 413, "body_too_large"),
    (b'{"hair": "' + b"x" * 2_000_000 + b'"}', 413, "body_too_large"),
    *((json.dumps(configuration).encode(), 400, "invalid_configuration") for configuration in CONFIGURATIONS),
    (b'{"model": "gpt-image-1"}', 400, "invalid_model"),
    (b'{"model": 3}', 400, "invalid_model"),
    (b'{"model": ["gpt-image-2"]}', 400, "invalid_model"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_BODIES)
async def test_a_body_that_is_no_wish_is_refused_and_costs_nothing(
    client: httpx.AsyncClient, services: MemoryServices, body: bytes, status: int, code: str
) -> None:
    answer = await client.post(POST, content=body, headers={**of(ALICE), **JSON})
    assert is_problem(answer, status, code), answer.text
    assert services.image_provider.submits == 0
    assert await services.ledger.credits(ALICE) == Credits(balance=10, held=0)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'\xef\xbb\xbf{"hair": null}', b' {"accessories": ["hat", "hat"]} ', b"{" + b" " * (16 * 1024 - 2) + b"}"],
)
async def test_a_body_that_is_one_is_taken(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post(POST, content=body, headers={**of(ALICE), **JSON})).status_code == 200


async def test_a_body_that_does_not_arrive_is_waited_for_ten_seconds(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []

    def timeout(seconds: float | None) -> asyncio.Timeout:
        waited.append(seconds)
        return asyncio.timeout(0.01)

    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    monkeypatch.setattr(bodies, "asyncio", SimpleNamespace(timeout=timeout))
    answer = await client.post(POST, content=trickle(), headers={**of(ALICE), **JSON})
    assert is_problem(answer, 400, "invalid_body")
    assert "10 seconds" in answer.json()["detail"]
    assert waited == [10]


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_is_not_declared_as_json_is_415(client: httpx.AsyncClient, media_type: str | None) -> None:
    headers = of(ALICE) if media_type is None else {**of(ALICE), "content-type": media_type}
    assert is_problem(await client.post(POST, content=b"{}", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_may_be_declared_in_any_case(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post(POST, content=b"{}", headers={**of(ALICE), "content-type": media_type})
    assert answer.status_code == 200


# --- Idempotency-Key -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "schlüssel", "\x01", "a\tb", " leading", "trailing "])
async def test_a_strange_idempotency_key_is_refused(
    client: httpx.AsyncClient, services: MemoryServices, key: str
) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1")), *((n.encode(), v.encode()) for n, v in of(ALICE).items())]
    answer = await client.post(POST, json={}, headers=headers)
    assert is_problem(answer, 400, "invalid_idempotency_key")
    assert services.image_provider.submits == 0


async def test_two_idempotency_keys_are_refused(client: httpx.AsyncClient) -> None:
    headers = [*of(ALICE).items(), ("idempotency-key", "a"), ("idempotency-key", "b")]
    assert is_problem(await client.post(POST, json={}, headers=headers), 400, "invalid_idempotency_key")


@pytest.mark.parametrize("key", ["a", "a" * 255, "order 17: father & son", "~!@#"])
async def test_the_same_key_and_wish_have_the_same_answer(client: httpx.AsyncClient, key: str) -> None:
    headers = {**of(ALICE), "idempotency-key": key}
    first = await client.post(POST, json={"hair": "Long"}, headers=headers)
    second = await client.post(POST, json={"hair": "long", "size": "1024x1024"}, headers=headers)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content


async def test_another_form_is_the_same_request(client: httpx.AsyncClient) -> None:
    headers = {**of(ALICE), "idempotency-key": "k"}
    small, large = [(await client.post(f"{POST}?w={w}", json={}, headers=headers)).json() for w in (64, 128)]
    assert (small.pop("display_url")[-5:], large.pop("display_url")[-6:]) == ("?w=64", "?w=128")
    assert small == large


async def test_the_same_key_and_another_wish_are_409(client: httpx.AsyncClient, services: MemoryServices) -> None:
    headers = {**of(ALICE), "idempotency-key": "k"}
    await client.post(POST, json={}, headers=headers)
    assert is_problem(await client.post(POST, json={"hair": "long"}, headers=headers), 409, "idempotency_conflict")
    assert await services.ledger.credits(ALICE) == Credits(balance=9, held=0)
    # Another user's key is another key.
    assert (await client.post(POST, json={}, headers={**of(BOB), "idempotency-key": "k"})).json()["cached"]


# --- pictures that are gone ----------------------------------------------------------------------


async def test_a_memoji_whose_object_is_gone_is_made_anew(client: httpx.AsyncClient, services: MemoryServices) -> None:
    first = (await client.post(POST, json={}, headers=of(ALICE))).json()
    services.stores["memoji-images"]._objects.clear()
    told = (await client.get(f"/api/generations/{first['key']}", headers=of(ALICE))).json()
    assert (told["status"], told["url"], told["error"]["code"]) == ("failed", None, "missing_object")
    again = (await client.post(POST, json={}, headers=of(ALICE))).json()
    assert (again["cached"], again["credits"], again["url"] != first["url"]) == (False, 8, True)
    assert (await client.get(again["url"])).status_code == 200


async def test_a_replay_after_a_purge_is_410_and_costs_nothing(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    headers = {**of(ALICE), "idempotency-key": "k"}
    made = (await client.post(POST, json={}, headers=headers)).json()
    await services.ledger.purge(Condition(key=made["key"]), 10, is_dry_run=False)
    for wanted in ({}, {"prefer": "respond-async"}):
        assert is_problem(await client.post(POST, json={}, headers={**headers, **wanted}), 410, "picture_gone")
    assert await services.ledger.credits(ALICE) == Credits(balance=9, held=0)
    assert services.image_provider.submits == 1
    remade = (await client.post(POST, json={}, headers={**of(ALICE), "idempotency-key": "k 2"})).json()
    addresses = {"url": remade["url"], "webp_url": remade["webp_url"]}
    assert (await client.post(POST, json={}, headers=headers)).json() == {**made, **addresses}


# --- Prefer: respond-async -----------------------------------------------------------------------


async def test_what_is_there_is_answered_at_once_whatever_is_preferred(client: httpx.AsyncClient) -> None:
    await client.post(POST, json={}, headers=of(ALICE))
    answer = await client.post(POST, json={}, headers={**of(BOB), "prefer": "respond-async"})
    assert (answer.status_code, answer.json()["cached"]) == (200, True)


async def test_an_order_is_202_and_its_address_tells_the_rest() -> None:
    services = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET}, seconds=5)
    clock: Any = services.image_provider.clock
    await services.ledger.grant_credits(ALICE, 1, "g")
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        headers = {**of(ALICE), "prefer": "wait=0, Respond-Async; x=y"}
        ordered = await client.post(POST, json={}, headers=headers)
        key = ordered.json()["key"]
        assert (ordered.status_code, ordered.json()["status"]) == (202, "generating")
        assert ordered.headers["location"] == f"/api/generations/{key}"
        assert ordered.headers["preference-applied"] == "respond-async, wait=0"
        assert ordered.json()["events"].startswith(f"http://pictures.test/api/generations/{key}/events?token=")
        assert ordered.headers["retry-after"] == "2"
        look = await client.get(ordered.headers["location"], headers=of(ALICE))
        told = look.json()
        assert (look.status_code, look.headers["retry-after"]) == (200, "2")
        assert (told["status"], told["key"], told["kind"]) == ("generating", key, "memoji")
        assert [told[name] for name in ("url", "webp_url", "webp_size_bytes", "placeholder", "error")] == [None] * 5
        # Looks in short succession write no token each.
        assert told["events"] == ordered.json()["events"]
        assert len(services.ledger._watches) == 1
        assert is_problem(await client.get(ordered.headers["location"], headers=of(BOB)), 404, "not_found")
        assert is_problem(await client.get(ordered.headers["location"]), 404, "not_found")
        await clock.advance(6)
        done = (await client.get(ordered.headers["location"], headers=of(ALICE))).json()
        assert (done["status"], done["url"].startswith("http://pictures.test/storage/")) == ("completed", True)
        assert done["webp_url"].endswith(".webp")
    await services.request_meter.close()


async def test_an_order_that_failed_says_why(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.image_provider.failures.append(ProviderFailed(FailureClass.MODERATED, "the provider's own words"))
    refused = await client.post(POST, json={}, headers=of(ALICE))
    assert is_problem(refused, 422, "generation_failed")
    assert await services.ledger.credits(ALICE) == Credits(balance=10, held=0)
    await client.post(POST, json={}, headers={**of(ALICE), "prefer": "respond-async"})
    key = next(iter(services.ledger._generations))
    told = (await client.get(f"/api/generations/{key}", headers=of(ALICE))).json()
    assert (told["status"], told["error"]["code"]) == ("failed", "moderated")
    assert "own words" not in json.dumps(told)


@pytest.mark.parametrize("key", ["0" * 64, "0" * 63, "G" * 64, "..", "%00", "a/b"])
async def test_a_generation_nobody_asked_for_is_404(client: httpx.AsyncClient, key: str) -> None:
    assert is_problem(await client.get(f"/api/generations/{key}", headers=of(ALICE)), 404, "not_found")


# --- credits, objects, pages of other origins ----------------------------------------------------


async def test_everybody_sees_their_own_credits(client: httpx.AsyncClient) -> None:
    told = [(await client.get("/api/credits", headers=of(user))).json()["credits"] for user in (ALICE, BOB)]
    assert told == [
        {"balance": 10, "held": 0, "available": 10},
        {"balance": 0, "held": 0, "available": 0},
    ]


async def test_an_object_with_an_address_of_its_own_is_not_served_here(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = (await client.post(POST, json={}, headers=of(ALICE))).json()["url"]
    assert (await client.get(url)).status_code == 200
    monkeypatch.setattr(services.stores[MEMOJI.bucket], "public_url", lambda path: f"https://project.example/{path}")
    assert is_problem(await client.get(url), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/storage/v1/object/public/memoji-images/2026/01/" + "0" * 64 + ".png",
        "/storage/v1/object/public/memoji-images/2026/01/" + "0" * 64 + ".svg",
        "/storage/v1/object/public/memoji-images/2026/13/" + "0" * 64 + ".png",
        "/storage/v1/object/public/memoji-images/../../etc/passwd",
        "/storage/v1/object/public/memoji-images/%2e%2e/%2e%2e/etc/passwd",
        "/storage/v1/object/public/other/2026/01/" + "0" * 64 + ".png",
        "/storage/v1/object/public/memoji-images/",
    ],
)
async def test_an_object_that_is_none_is_404(client: httpx.AsyncClient, path: str) -> None:
    assert is_problem(await client.get(path), 404, "not_found")


@pytest.mark.parametrize("path", [POST, "/api/credits", f"/api/generations/{'0' * 64}"])
async def test_a_page_of_any_origin_may_ask_with_a_token(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.options(
        path, headers={"origin": "https://a.example", "access-control-request-method": "POST"}
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_where_nobody_can_sign_in_it_says_what_to_set() -> None:
    services = memory_services()
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        answer = await client.post(POST, json={}, headers=of(ALICE))
        assert is_problem(answer, 503, "misconfigured")
        assert "SUPABASE_URL" in answer.text
