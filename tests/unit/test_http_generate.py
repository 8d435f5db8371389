"""`POST /api/generate`, `Prefer` on pictures, and looks at generations: what is answered, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.budgets import Credits
from copperplate.errors import LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.model import Condition, Outcome
from copperplate.wishes import WishStatus
from tests.support.api_keys import keep_key
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


SECRET = "a secret of at least thirty-two characters"
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
POST = "/api/generate"
FOX = {"prompt": "a red fox", "width": 256, "height": 256}
FOX_URL = "/256x256.jpg?text=a%20red%20fox"
EARLY = {"prefer": "respond-async"}


def of(user: UUID, *, is_anonymous: bool = False) -> dict[str, str]:
    """The header of a signed-in person."""
    made = Tokens(LOCAL_ISSUER, SystemClock().now()).hs(
        secret=SECRET.encode(), sub=str(user), is_anonymous=is_anonymous
    )
    return {"authorization": f"Bearer {made}"}


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    is_fresh = answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers
    return is_fresh and (answer.status_code, answer.json()["code"]) == (status, code)


def open_wishes(services: MemoryServices) -> list[str]:
    """The keys of what is promised and not settled, each once per wish."""
    return [row.asked.generation_key for row in services.ledger._wishes.values() if row.status is WishStatus.OPEN]


async def counted(services: MemoryServices) -> tuple[int, int, int]:
    """How many requests generated a picture, were hits, and failed."""
    await services.request_meter.flush()
    sums = (await services.ledger.usage_totals()).usage
    told = {outcome: sum(row.requests for row in sums if row.outcome == outcome) for outcome in Outcome}
    return told[Outcome.GENERATED], told[Outcome.HIT], told[Outcome.FAILED]


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    await made.ledger.grant_credits(ALICE, 10, "g")
    yield made
    await made.request_meter.close()


@contextlib.asynccontextmanager
async def gated_services(*, wait_seconds: float) -> AsyncIterator[MemoryServices]:
    made = memory_services(
        environ={"SUPABASE_JWT_SECRET": SECRET}, provider=GatedProvider(FakeClock()), wait_seconds=wait_seconds
    )
    await made.ledger.grant_credits(ALICE, 10, "g")
    yield made
    made.image_provider.gate.set()  # type: ignore[attr-defined]
    await made.shut_down(within_seconds=5)
    await made.request_meter.close()


@pytest.fixture
async def gated() -> AsyncIterator[MemoryServices]:
    """Services whose provider makes nothing until its gate is opened."""
    async with gated_services(wait_seconds=30) as made:
        yield made


@pytest.fixture
async def hurried() -> AsyncIterator[MemoryServices]:
    """The same, whose callers wait 0.1 s."""
    async with gated_services(wait_seconds=0.1) as made:
        yield made


def reach(services: MemoryServices) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(services=services))
    return httpx.AsyncClient(transport=transport, base_url="http://pictures.test")


async def finish(services: MemoryServices) -> None:
    """Let what was promised be made."""
    services.image_provider.gate.set()  # type: ignore[attr-defined]
    await services.coordinator.shut_down(within_seconds=5)
    await services.promises.shut_down(within_seconds=5)


# --- one wish ------------------------------------------------------------------------------------


async def test_an_image_is_made_once_and_its_address_is_a_hit(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    made = await client.post(POST, json={**FOX, "thread_id": "7", "style": "flat", "title": "Fox"})
    told = made.json()
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    assert (told["success"], told["status"], told["kind"], told["cached"]) == (True, "completed", "image", False)
    assert told["url"] == f"http://pictures.test{FOX_URL}"
    assert (told["width"], told["height"], told["format"]) == (256, 256, "jpg")
    assert (told["thread_id"], told["style"], told["title"]) == ("7", "flat", "Fox")
    picture = await client.get(told["url"])
    assert (picture.headers["x-cache"], len(picture.content)) == ("HIT", told["size_bytes"])
    assert picture.headers["x-copperplate-generation-key"] == told["key"]
    again = (await client.post(POST, json={"text": " a red  fox", "dimensions": "256x256"})).json()
    assert again == {**told, "cached": True, "cost_usd": 0, **dict.fromkeys(("thread_id", "style", "title"))}
    assert services.image_provider.submits == 1
    assert await counted(services) == (1, 2, 0)


async def test_display_members_ask_for_a_form_that_is_made_with_it(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    made = await client.post(POST, json={**FOX, "w": 60, "format": "png", "q": 40})
    told = made.json()
    assert told["url"] == "http://pictures.test/256x256.png?text=a%20red%20fox&w=64"
    assert (told["width"], told["height"], told["format"]) == (64, 64, "png")
    assert made.headers["x-copperplate-ignored"] == "q"
    assert len((await client.get(told["url"])).content) == told["size_bytes"]
    assert services.image_provider.submits == 1


async def test_a_memoji_is_made_for_a_credit_and_shown_in_any_form(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    told = (await client.post(POST, json={"kind": "memoji", "hair": "long"}, headers=of(ALICE))).json()
    assert (told["kind"], told["cached"], told["credits"]) == ("memoji", False, 9)
    assert told["url"] == f"http://pictures.test/api/images/{told['key']}"
    picture = await client.get(told["url"])
    assert (picture.status_code, len(picture.content)) == (200, told["size_bytes"])
    shown = await client.post(POST, json={"kind": "memoji", "hair": "Long", "w": 64, "format": "webp"}, headers=of(BOB))
    assert (shown.json()["cached"], shown.json()["credits"], shown.json()["size_bytes"]) == (True, 0, None)
    assert (shown.json()["width"], shown.json()["format"]) == (64, "webp")
    assert shown.json()["url"] == f"{told['url']}?w=64&format=webp"
    assert (await client.get(shown.json()["url"])).headers["content-type"] == "image/webp"
    assert services.image_provider.submits == 1


async def test_a_memoji_needs_a_sign_in_and_a_credit(client: httpx.AsyncClient, services: MemoryServices) -> None:
    key = (await keep_key(services.ledger)).text
    for headers in ({}, {"authorization": "Bearer of-somebody-else"}):
        assert is_problem(await client.post(POST, json={"kind": "memoji"}, headers=headers), 401, "unauthorized")
    keyed = await client.post(POST, json={"kind": "memoji"}, headers={"x-api-key": key})
    assert is_problem(keyed, 403, "memoji_needs_sign_in")
    refused = await client.post(POST, json={"kind": "memoji"}, headers=of(BOB))
    assert is_problem(refused, 402, "not_enough_credits")
    assert (services.image_provider.submits, open_wishes(services)) == (0, [])


@pytest.mark.parametrize("access", ["signed", "keys"])
async def test_strangers_are_shown_what_is_stored_and_have_nothing_made_where_that_needs_a_name(access: str) -> None:
    services = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_ACCESS": access})
    key = (await keep_key(services.ledger)).text
    async with reach(services) as client:
        for headers in ({}, EARLY, {"idempotency-key": "1"}):
            assert is_problem(await client.post(POST, json=FOX, headers=headers), 401, "access_denied")
        assert (services.image_provider.submits, services.ledger._wish_batches) == (0, {})
        made = await client.post(POST, json=FOX, headers={"x-api-key": key})
        assert (made.status_code, made.json()["cached"]) == (200, False)
        for headers in ({}, EARLY):
            assert (await client.post(POST, json=FOX, headers=headers)).json()["cached"] is True
    await services.request_meter.close()


@pytest.mark.parametrize("headers", [{}, EARLY, {"prefer": "wait=0"}])
async def test_a_failure_has_its_code_and_nothing_is_promised(
    client: httpx.AsyncClient, services: MemoryServices, headers: dict[str, str]
) -> None:
    services.image_provider.failures.append(ProviderFailed(FailureClass.MODERATED, "the provider's own words"))
    refused = await client.post(POST, json=FOX, headers=headers)
    if refused.status_code == 202:  # a lease was held before it failed
        refused = await client.post(POST, json=FOX)
    assert is_problem(refused, 422, "generation_failed")
    key = next(iter(services.ledger._generations))
    told = await client.get(f"/api/generations/{key}")
    assert (told.json()["status"], told.json()["error"]["code"]) == ("failed", "moderated")
    assert "own words" not in told.text
    assert open_wishes(services) == []


async def test_where_the_wall_is_used_up_nothing_is_promised() -> None:
    services = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_DAILY_BUDGET_USD": "0"})
    async with reach(services) as client:
        for headers in ({}, EARLY, {"prefer": "wait=1"}, {**of(ALICE), "idempotency-key": "1"}):
            assert is_problem(await client.post(POST, json=FOX, headers=headers), 402, "budget_exhausted")
            assert is_problem(await client.get(FOX_URL, headers=headers), 402, "budget_exhausted")
    assert (services.image_provider.submits, open_wishes(services)) == (0, [])
    await services.request_meter.close()


# --- answered before the picture is there --------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_caller_who_need_not_wait_is_told_where_to_look(gated: MemoryServices, method: str) -> None:
    async with reach(gated) as client:
        if method == "POST":
            ordered = await client.post(POST, json={**FOX, "title": "Fox"}, headers=EARLY)
        else:
            ordered = await client.get(FOX_URL, headers=EARLY)
        told = ordered.json()
        key = told["key"]
        assert (ordered.status_code, told["status"] in ("pending", "generating")) == (202, True)
        assert ordered.headers["location"] == f"/api/generations/{key}"
        assert ordered.headers["preference-applied"] == "respond-async"
        assert (ordered.headers["retry-after"], ordered.headers["cache-control"]) == ("2", "no-store")
        assert ordered.headers["access-control-allow-origin"] == "*"
        assert "location" in ordered.headers["access-control-expose-headers"].lower()
        assert ordered.headers["content-type"].partition(";")[0] == "application/json"
        assert told["events"] == f"http://pictures.test/api/generations/{key}/events"
        assert told["url"] == f"http://pictures.test{FOX_URL}"
        assert told.get("title") == ("Fox" if method == "POST" else None)
        assert open_wishes(gated) == [key]
        look = await client.get(ordered.headers["location"])
        assert (look.json()["status"], look.json()["events"]) == (told["status"], told["events"])
        assert gated.work.is_due
        assert await counted(gated) == (0, 0, 0)
        await finish(gated)
        done = (await client.get(ordered.headers["location"])).json()
        assert (done["status"], done["url"]) == ("completed", f"http://pictures.test/api/images/{key}")
        assert (done["events"], done["error"]) == (None, None)
        assert (await client.get(done["url"])).status_code == 200
        # The form that was asked for is there as well, and this answer comes at once.
        picture = await client.get(FOX_URL, headers=EARLY)
        assert (picture.status_code, picture.headers["x-cache"]) == (200, "HIT")
    assert (gated.image_provider.submits, open_wishes(gated)) == (1, [])
    assert (await counted(gated))[0] == 1


async def test_the_address_of_a_promise_says_nothing_of_who_asks(gated: MemoryServices) -> None:
    key = await keep_key(gated.ledger, is_visible=True, cap_pictures=9)
    async with reach(gated) as client:
        ordered = await client.get(f"/256x256.auto?text=f%C3%BCchse&w=64&utm=1&key={key.text}", headers=EARLY)
        assert ordered.json()["url"] == "http://pictures.test/256x256.auto?text=f%C3%BCchse&w=64"
        await finish(gated)


async def test_the_form_of_an_address_is_made_by_whoever_makes_the_picture(gated: MemoryServices) -> None:
    async with reach(gated) as client:
        ordered = await client.get("/256x256.webp?w=60&text=a+red+fox&utm_source=x", headers=EARLY)
        assert ordered.status_code == 202
        [row] = gated.ledger._wishes.values()
        [path] = row.asked.paths
        assert path.startswith("/256x256.webp?text=a%20red%20fox&model=")
        assert path.endswith("&w=64")


async def test_when_the_wait_is_over_the_wish_is_kept(hurried: MemoryServices) -> None:
    async with reach(hurried) as client:
        late = await client.post(POST, json=FOX)  # without any preference: after 0.1 s here
        assert (late.status_code, late.json()["url"]) == (202, f"http://pictures.test{FOX_URL}")
        assert "preference-applied" not in late.headers
        assert open_wishes(hurried) == [late.json()["key"]]
        again = await client.post(POST, json=FOX)
        assert (again.status_code, open_wishes(hurried)) == (202, [late.json()["key"]])
        assert await counted(hurried) == (0, 0, 0)  # nobody failed
        await finish(hurried)
        # Each request once, as its picture came: the second one waited for the first one's.
        assert await counted(hurried) == (1, 0, 0)
        assert open_wishes(hurried) == []
        assert (await client.post(POST, json=FOX)).json()["cached"] is True
    assert hurried.image_provider.submits == 1


async def test_a_caller_waits_no_longer_than_they_prefer(gated: MemoryServices) -> None:
    async with reach(gated) as client:
        for prefer in ("wait=0", "respond-async, wait=0", 'wait="0"; x="a, b"'):
            late = await client.post(POST, json=FOX, headers={"prefer": prefer})
            assert (late.status_code, "wait=0" in late.headers["preference-applied"]) == (202, True)
        waiting = asyncio.create_task(client.post(POST, json=FOX, headers={"prefer": "respond-async, wait=20"}))
        await asyncio.sleep(0.01)
        gated.image_provider.gate.set()  # type: ignore[attr-defined]
        done = await waiting
        assert (done.status_code, done.headers["preference-applied"]) == (200, "respond-async, wait=20")
    assert gated.image_provider.submits == 1


@pytest.mark.parametrize(
    "prefer",
    [
        *("", "respond-asyncs", "return=minimal", "wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", ";;,,="),
        *("wait=9999999999", "wait=abc, wait=0", "handling=lenient; wait=0"),
        *('x="respond-async, wait=0', 'x="a, respond-async"'),
    ],
)
async def test_what_is_no_preference_of_ours_changes_nothing(
    client: httpx.AsyncClient, services: MemoryServices, prefer: str
) -> None:
    for answer in (
        await client.post(POST, json=FOX, headers={"prefer": prefer}),
        await client.get(FOX_URL, headers={"prefer": prefer}),
    ):
        assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)
    assert services.image_provider.submits == 1


async def test_preferences_may_be_spread_over_several_headers(gated: MemoryServices) -> None:
    async with reach(gated) as client:
        headers = [("Prefer", "return=minimal"), ("Prefer", "RESPOND-async"), ("Prefer", "wait=0")]
        ordered = await client.get(FOX_URL, headers=headers)
        assert (ordered.status_code, ordered.headers["preference-applied"]) == (202, "respond-async, wait=0")


@pytest.mark.parametrize("headers", [EARLY, {"prefer": "respond-async, wait=30"}])
async def test_a_head_promises_nothing(
    client: httpx.AsyncClient, services: MemoryServices, headers: dict[str, str]
) -> None:
    looked = await client.head(FOX_URL, headers=headers)
    assert (looked.status_code, looked.content) == (404, b"")
    placeholder = await client.get(f"{FOX_URL}&placeholder", headers=headers)
    assert is_problem(placeholder, 404, "not_generated")
    assert (services.image_provider.submits, open_wishes(services)) == (0, [])


async def test_a_picture_that_the_caller_holds_is_304_however_early(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    made = await client.get(FOX_URL)
    held = await client.get(FOX_URL, headers={**EARLY, "if-none-match": made.headers["etag"]})
    assert (held.status_code, held.content) == (304, b"")
    assert await counted(services) == (1, 1, 0)


async def test_pages_of_other_origins_may_prefer(client: httpx.AsyncClient) -> None:
    for path in (POST, FOX_URL, f"/api/generations/{'0' * 64}"):
        allowed = await client.options(path, headers={"origin": "https://a.test"})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "*")
        assert "prefer" in allowed.headers["access-control-allow-headers"]


async def test_a_host_that_is_not_ours_is_refused_before_anything_is_spent(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    host = {"host": "elsewhere.example"}
    assert is_problem(await client.post(POST, json=FOX, headers=host), 400, "invalid_host")
    assert is_problem(await client.get(FOX_URL, headers={**host, **EARLY}), 400, "invalid_host")
    assert services.image_provider.submits == 0


# --- Idempotency-Key -----------------------------------------------------------------------------


async def test_one_key_stands_for_one_request_of_a_user_or_an_api_key(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    key = {"x-api-key": (await keep_key(services.ledger)).text}
    for who in (of(ALICE), of(BOB), key):
        body = {**FOX, "seed": len(services.ledger._wish_batches)}
        headers = {**who, "idempotency-key": "order 1"}
        made = await client.post(POST, json=body, headers=headers)
        again = await client.post(POST, json={**body, "w": 64}, headers=headers)
        assert (made.json()["cached"], again.json()["cached"], again.json()["width"]) == (False, False, 64)
        other = await client.post(POST, json={**FOX, "seed": 99}, headers=headers)
        assert is_problem(other, 409, "idempotency_conflict")
        # Settled at once: no step has it to do again.
        assert open_wishes(services) == []
    assert services.image_provider.submits == 3


async def test_no_step_makes_what_is_asked_for_under_a_key_before_its_caller(gated: MemoryServices) -> None:
    key = {"x-api-key": (await keep_key(gated.ledger)).text, "idempotency-key": "order 1"}
    async with reach(gated) as client:
        asking = asyncio.create_task(client.post(POST, json=FOX, headers=key))
        while not open_wishes(gated):
            await asyncio.sleep(0)
        assert await gated.ledger.take_wishes(in_flight=4, held_for=gated.promises.lease) == []
        gated.image_provider.gate.set()  # type: ignore[attr-defined]
        made = await asking
    assert (made.status_code, made.json()["cost_usd"]) == (200, 0.003)
    assert (await counted(gated), open_wishes(gated)) == ((1, 0, 0), [])


async def test_what_is_promised_under_a_key_is_one_wish_and_ends_with_the_picture(gated: MemoryServices) -> None:
    key = {"x-api-key": (await keep_key(gated.ledger)).text, "idempotency-key": "order 1"}
    async with reach(gated) as client:
        for _ in range(2):
            ordered = await client.post(POST, json=FOX, headers={**key, **EARLY})
            assert (ordered.status_code, open_wishes(gated)) == (202, [ordered.json()["key"]])
        await finish(gated)
    assert open_wishes(gated) == []


async def test_a_key_of_a_stranger_has_no_effect(client: httpx.AsyncClient, services: MemoryServices) -> None:
    for who in ({}, of(ALICE, is_anonymous=True)):
        headers = {**who, "idempotency-key": "order 1"}
        for body in (FOX, {**FOX, "seed": 1}):
            assert (await client.post(POST, json=body, headers=headers)).status_code == 200
    assert (services.image_provider.submits, services.ledger._wish_batches) == (2, {})


async def test_what_failed_under_a_key_is_tried_again_and_by_nobody_else(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    services.image_provider.failures.append(ProviderFailed(FailureClass.BAD_OUTPUT, "no picture"))
    headers = {**of(ALICE), "idempotency-key": "order 1"}
    assert is_problem(await client.post(POST, json=FOX, headers=headers), 502, "generation_failed")
    await services.work.run(within_seconds=5)
    assert (services.image_provider.submits, open_wishes(services)) == (1, [])
    services.ledger._generations.clear()
    assert (await client.post(POST, json=FOX, headers=headers)).json()["cached"] is False


async def test_a_bug_under_a_key_withdraws_the_wish(services: MemoryServices, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(services.renditions, "find", break_)
    transport = httpx.ASGITransport(create_app(services=services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        answer = await client.post(POST, json=FOX, headers={**of(ALICE), "idempotency-key": "order 1"})
    assert answer.status_code == 500
    await services.work.run(within_seconds=5)
    assert (services.image_provider.submits, open_wishes(services)) == (0, [])


@pytest.mark.parametrize("sent", ["", " ", "é", "a" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient, services: MemoryServices, sent: str) -> None:
    headers = [(b"idempotency-key", sent.encode())]
    assert is_problem(await client.post(POST, json=FOX, headers=headers), 400, "invalid_idempotency_key")
    twice = [(b"idempotency-key", b"a"), (b"idempotency-key", b"a")]
    assert is_problem(await client.post(POST, json=FOX, headers=twice), 400, "invalid_idempotency_key")
    assert services.image_provider.submits == 0


# --- bodies that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid_body"),
        (b"{", 400, "invalid_body"),
        (b"[]", 400, "invalid_body"),
        (b'"a red fox"', 400, "invalid_body"),
        (b"\xff", 400, "invalid_body"),
        (b'{"prompt": "a", "prompt": "b"}', 400, "invalid_body"),
        (b'{"prompt": "a", "width": NaN}', 400, "invalid_body"),
        (b"[" * 10_000, 400, "invalid_body"),
        (b'{"prompt": "' + b"a" * 17_000 + b'"}', 413, "body_too_large"),
        (b'{"prompt": "a", "width": "640", "height": 480}', 400, "invalid_size"),
        (b'{"prompt": "a", "promt": "b"}', 400, "unknown_parameter"),
        (b'{"prompt": 7}', 400, "invalid_text"),
    ],
)
async def test_a_body_that_is_none_spends_nothing(
    client: httpx.AsyncClient, services: MemoryServices, content: bytes, status: int, code: str
) -> None:
    for headers in ({}, EARLY):
        answer = await client.post(POST, content=content, headers={"content-type": "application/json", **headers})
        assert is_problem(answer, status, code)
    assert (services.image_provider.submits, open_wishes(services)) == (0, [])
    assert await counted(services) == (0, 0, 0)


async def test_a_body_has_to_be_json_and_the_query_empty(client: httpx.AsyncClient, services: MemoryServices) -> None:
    assert is_problem(await client.post(POST, data={"prompt": "a"}), 415, "unsupported_media_type")
    assert is_problem(await client.post(f"{POST}?w=64", json=FOX), 400, "unknown_parameter")
    assert is_problem(await client.post(POST, json=FOX, headers={"x-api-key": "cp_wrong"}), 401, "unauthorized")
    assert services.image_provider.submits == 0


# --- looks ---------------------------------------------------------------------------------------


async def test_an_image_is_told_to_whoever_has_its_key(client: httpx.AsyncClient, services: MemoryServices) -> None:
    key = (await client.post(POST, json=FOX, headers=of(ALICE))).json()["key"]
    for headers in ({}, of(BOB), of(ALICE), {"x-api-key": (await keep_key(services.ledger)).text}):
        told = await client.get(f"/api/generations/{key}", headers=headers)
        assert (told.status_code, told.json()["status"], told.json()["kind"]) == (200, "completed", "image")
        assert told.json()["created_at"] <= told.json()["started_at"]
    assert not services.work.is_due
    assert is_problem(await client.get(f"/api/generations/{key}", headers={"x-api-key": "cp_x"}), 401, "unauthorized")


@pytest.mark.parametrize("key", ["0" * 64, "0" * 63, "G" * 64, "..", "%00", "a/b"])
async def test_a_key_that_nobody_knows_is_404(client: httpx.AsyncClient, key: str) -> None:
    for headers in ({}, of(ALICE)):
        assert is_problem(await client.get(f"/api/generations/{key}", headers=headers), 404, "not_found")


async def test_what_was_purged_is_unknown_and_what_was_taken_down_is_gone(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    key = (await client.post(POST, json=FOX)).json()["key"]
    await services.ledger.purge(Condition(key=key), limit=10, is_dry_run=False)
    assert is_problem(await client.get(f"/api/generations/{key}"), 404, "not_found")
    await services.ledger.take_down(key)
    for headers in ({}, of(BOB)):
        assert is_problem(await client.get(f"/api/generations/{key}", headers=headers), 410, "taken_down")
    assert is_problem(await client.post(POST, json=FOX), 410, "taken_down")
    assert is_problem(await client.post(POST, json=FOX, headers=EARLY), 410, "taken_down")


async def test_a_promise_stands_where_the_ledger_cannot_tell_of_it(
    gated: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: str, **_: bool) -> None:
        raise LedgerUnavailable(key)

    monkeypatch.setattr(gated.ledger, "generation_state", away)
    async with reach(gated) as client:
        ordered = await client.post(POST, json=FOX, headers=EARLY)
        assert (ordered.status_code, ordered.json()["usual_seconds"]) == (202, None)
        assert ordered.headers["location"].endswith(ordered.json()["key"])
        assert is_problem(await client.get(ordered.headers["location"]), 503, "ledger_unavailable")


async def test_a_memoji_is_promised_with_its_credit(hurried: MemoryServices) -> None:
    async with reach(hurried) as client:
        for headers in ({}, EARLY, {"prefer": "wait=0"}):
            ordered = await client.post(POST, json={"kind": "memoji"}, headers={**of(ALICE), **headers})
            assert (ordered.status_code, ordered.json()["kind"]) == (202, "memoji")
        assert "/events?token=" in ordered.json()["events"]
        assert await hurried.ledger.credits(ALICE) == Credits(balance=10, held=1)
        assert is_problem(await client.get(ordered.headers["location"]), 404, "not_found")
        assert is_problem(await client.get(ordered.headers["location"], headers=of(BOB)), 404, "not_found")
        await finish(hurried)
        done = (await client.get(ordered.headers["location"], headers=of(ALICE))).json()
        assert (done["status"], done["events"]) == ("completed", None)
    # The other two found it, or waited for the first one's.
    generated, _, failed = await counted(hurried)
    assert (generated, failed) == (1, 0)
    assert await hurried.ledger.credits(ALICE) == Credits(balance=9, held=0)
    assert hurried.image_provider.submits == 1


async def test_no_prompt_and_no_token_is_in_the_log(gated: MemoryServices, caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("copperplate", "copperplate.requests"):
        caplog.set_level(logging.DEBUG, logger)
    async with reach(gated) as client:
        ordered = await client.post(POST, json={"kind": "memoji"}, headers={**of(ALICE), **EARLY})
        await client.post(POST, json=FOX, headers=EARLY)
        await client.get(FOX_URL, headers=EARLY)
    token = ordered.json()["events"].rpartition("=")[2]
    assert token not in caplog.text
    assert "fox" not in json.dumps(caplog.text)
    assert "status=202" in caplog.text
