"""Who is asking, over HTTP: a credential that is wrong is refused everywhere, on hits too; no answer repeats one."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from copperplate.access import wrong_keys as rates
from copperplate.access.api_keys import make_key
from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.api_keys import Scope
from copperplate.http.app import create_app
from copperplate.http.callers import address_of, caller_of
from copperplate.http.origin import parse_address
from copperplate.model import User
from tests.support.api_keys import keep_key, wrong_keys
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.tokens import SECRET, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOX = "/64x64.png?text=a+fox+in+the+snow"
INVALID = 'Bearer error="invalid_token"'
RIGHT = make_key()
WRONG = sorted(set(wrong_keys(RIGHT.text)))
PLACES = ("authorization", "x-api-key", "query")
ENVIRON = {"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ=ENVIRON)
    yield made
    await made.request_meter.close()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(LOCAL_ISSUER, SystemClock().now())


def sent(path: str, text: str, place: str, *, address: str = "192.0.2.1") -> tuple[str, dict[bytes, bytes]]:
    """A request's address and headers with a key in one of the three places."""
    headers = {b"x-forwarded-for": address.encode()}
    if place == "query":
        return f"{path}{'&' if '?' in path else '?'}key={quote(text, safe='')}", headers
    value = f"Bearer {text}" if place == "authorization" else text
    return path, {**headers, place.encode(): value.encode()}


async def get(client: httpx.AsyncClient, path: str, text: str, place: str, **given: Any) -> httpx.Response:
    url, headers = sent(path, text, place, **given)
    return await client.get(url, headers=headers)


def assert_refused(answer: httpx.Response, *texts: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    # Also where no credential is needed, as at /robots.txt.
    assert answer.json()["title"] == "No valid credential was sent"
    assert answer.headers["www-authenticate"] == INVALID
    assert answer.headers["cache-control"] == "no-store"
    said = answer.text + json.dumps(dict(answer.headers))
    assert not any(text in said for text in texts if len(text) > 12)


# --- wrong keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
async def test_wrong_keys_of_every_form_are_refused_on_hits_and_misses_alike(
    client: httpx.AsyncClient, services: MemoryServices, place: str
) -> None:
    assert len(WRONG) >= 60
    assert (await client.get(FOX)).status_code == 200
    await services.ledger.create_api_key(_kept_right())
    for number, text in enumerate(WRONG):
        for path in (FOX, f"/64x64.png?text=a+picture+that+is+not+there+{number}"):
            answer = await get(client, path, text, place, address=f"192.0.2.{number}")
            assert_refused(answer, text, RIGHT.text)
        head = await client.head(*sent(FOX, text, place, address=f"192.0.2.{number}")[:1], headers=None)
        assert head.status_code == (401 if place == "query" else 200)
    assert services.image_provider.submits == 1
    await services.request_meter.flush()
    assert sum(use.count for use in services.ledger._uses) == 1, "what is refused is not counted as a request for it"


def _kept_right() -> Any:
    from tests.support.api_keys import new_key

    return new_key(RIGHT)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "path", ["/", "/docs", "/api/generation/stats", "/api/cache/stats", "/api/credits", "/nowhere", "/robots.txt"]
)
async def test_wrong_keys_are_refused_by_every_route(client: httpx.AsyncClient, place: str, path: str) -> None:
    for text in (make_key().text, "cp_wrong"):
        assert_refused(await get(client, path, text, place), text)


async def test_health_depends_on_no_key(client: httpx.AsyncClient) -> None:
    assert (await get(client, "/healthz", "cp_wrong", "authorization")).status_code == 200


@pytest.mark.parametrize(
    "header", ["cp_{}", "ApiKey {}", "Token {}", "Bearer={}", "Bearer,{}", "Basic {}", "Bearer\t{}"]
)
async def test_key_in_a_header_of_another_form_is_refused(
    client: httpx.AsyncClient, services: MemoryServices, header: str
) -> None:
    kept = await keep_key(services.ledger)
    answer = await client.get(FOX, headers={"authorization": header.format(kept.text)})
    assert_refused(answer, kept.text)


@pytest.mark.parametrize(
    "bearer", ["", "sk-proj-abc", "undefined", "null", "a.b", "a.b.c.d", "cpx_abc", "xcp_abc", "cp", "cp-abc", "ключ"]
)
async def test_bearers_of_others_are_nobodys(client: httpx.AsyncClient, services: MemoryServices, bearer: str) -> None:
    answer = await client.get(FOX, headers={b"authorization": f"Bearer {bearer}".encode()})
    assert answer.status_code == 200
    answer = await client.get(FOX, headers={b"authorization": f"Basic {bearer}".encode()})
    assert answer.status_code == 200


async def test_too_many_wrong_keys_of_an_address_are_429_and_no_other_address_is_affected(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "SPARE_EVERY_SECONDS", 10_000.0)  # it does not come back on a slow machine
    kept = await keep_key(services.ledger)
    for _ in range(rates.BURST + rates.SPARE):
        assert (await get(client, FOX, make_key().text, "x-api-key")).status_code == 401
    for place in PLACES:
        answer = await get(client, FOX, make_key().text, place)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_wrong_keys")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["cache-control"] == "no-store"
    assert (await get(client, FOX, kept.text, "x-api-key", address="192.0.2.2")).status_code == 200
    # Of an IPv6 network every address is the same caller's; nobody without a key is affected.
    for number in range(rates.BURST):
        await get(client, FOX, make_key().text, "x-api-key", address=f"2001:db8::{number:x}")
    answer = await get(client, FOX, make_key().text, "x-api-key", address="2001:db8::ffff:1")
    assert answer.status_code == 429
    assert (await get(client, FOX, make_key().text, "x-api-key", address="2001:db8:0:1::1")).status_code == 401
    assert (await client.get(FOX, headers={"x-forwarded-for": "192.0.2.1"})).status_code == 200


# --- right keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["authorization", "x-api-key"])
async def test_right_key_is_taken_from_either_header(
    client: httpx.AsyncClient, services: MemoryServices, place: str
) -> None:
    kept = await keep_key(services.ledger)
    assert (await get(client, FOX, kept.text, place)).status_code == 200
    assert (await get(client, FOX, f" {kept.text} \t", place)).status_code == 200


async def test_visible_key_may_stand_in_the_address_and_is_in_no_key_and_no_answer(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    visible = await keep_key(services.ledger, is_visible=True, cap_pictures=9)
    first, plain = await get(client, FOX, visible.text, "query"), await client.get(FOX)
    assert (first.status_code, first.headers["x-cache"], plain.headers["x-cache"]) == (200, "MISS", "HIT")
    assert first.headers["x-copperplate-key"] == plain.headers["x-copperplate-key"]
    assert "x-copperplate-ignored" not in first.headers
    named = await client.get(f"{FOX}&utm=1&k%65y={visible.text}")
    assert (named.status_code, named.headers["x-copperplate-ignored"]) == (200, "utm")
    for answer in (first, named):
        assert visible.text not in answer.text + json.dumps(dict(answer.headers))
    assert services.image_provider.submits == 1
    assert visible.text not in repr(services.ledger.__dict__)


async def test_secret_key_in_an_address_is_refused_and_says_to_replace_it(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    kept = await keep_key(services.ledger)
    for path in (FOX, "/api/cache/stats"):
        answer = await get(client, path, kept.text, "query")
        assert_refused(answer, kept.text, kept.text[11:])
        # Without a grace: what stands in logs must not be good for another day; and a script is not asked.
        assert f"`copperplate keys rotate cp_{kept.record.prefix} --grace 0 --yes`" in answer.json()["detail"]
    assert (await get(client, FOX, kept.text, "authorization")).status_code == 200


async def test_one_address_that_was_remembered_serves_nobody_elses_key(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    """The parsed address is remembered by its text; the key in it is judged with every request."""
    visible = await keep_key(services.ledger, is_visible=True, cap_pictures=9)
    assert (await get(client, FOX, visible.text, "query")).status_code == 200
    assert (await client.get(FOX)).status_code == 200
    assert_refused(await get(client, FOX, make_key().text, "query"))
    assert_refused(await get(client, FOX, "", "query"))
    await services.ledger.revoke_api_key(visible.record.prefix)
    services.key_ring._found.clear()  # as after ten seconds
    assert_refused(await get(client, FOX, visible.text, "query"))
    wiring_cache = repr(await caller_of(_scope(FOX), services))
    assert visible.text not in wiring_cache


@pytest.mark.parametrize("ended", ["revoked", "expired", "replaced"])
async def test_key_that_has_ended_says_so(client: httpx.AsyncClient, services: MemoryServices, ended: str) -> None:
    kept = await keep_key(services.ledger, expires_in=timedelta(microseconds=1) if ended == "expired" else None)
    if ended == "revoked":
        await services.ledger.revoke_api_key(kept.record.prefix)
    elif ended == "replaced":
        new = make_key(kept.record.prefix)
        await services.ledger.rotate_api_key(new.prefix, new.digest, timedelta(microseconds=1))
    answer = await get(client, FOX, kept.text, "authorization")
    assert_refused(answer, kept.text)
    assert ended in answer.json()["detail"]


async def test_two_different_credentials_are_none(
    client: httpx.AsyncClient, services: MemoryServices, tokens: Tokens
) -> None:
    one, other = await keep_key(services.ledger), await keep_key(services.ledger)
    visible = await keep_key(services.ledger, is_visible=True)
    bearer = f"Bearer {one.text}"
    same = await client.get(FOX, headers={"authorization": bearer, "x-api-key": one.text})
    assert same.status_code == 200
    for headers, query in (
        ([("authorization", bearer), ("x-api-key", other.text)], ""),
        ([("authorization", bearer), ("authorization", f"Bearer {other.text}")], ""),
        ([("x-api-key", one.text), ("x-api-key", other.text)], ""),
        ([("x-api-key", one.text), ("x-api-key", "")], ""),
        ([("authorization", f"Bearer {tokens.hs()}"), ("x-api-key", one.text)], ""),
        ([("authorization", f"Bearer {tokens.hs()}")], f"&key={visible.text}"),
        ([("x-api-key", one.text)], f"&key={visible.text}"),
        ([], f"&key={visible.text}&key={other.text}"),
    ):
        answer = await client.get(FOX + query, headers=headers)
        assert_refused(answer, one.text, other.text, visible.text)
        assert "Two different" in answer.json()["detail"]


async def test_key_without_the_scope_has_hits_and_no_miss(client: httpx.AsyncClient, services: MemoryServices) -> None:
    kept = await keep_key(services.ledger, Scope.PURGE)
    refused = await get(client, FOX, kept.text, "authorization")
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    await client.get(FOX)
    assert (await get(client, FOX, kept.text, "authorization")).status_code == 200


# --- sign-ins --------------------------------------------------------------------------------------


async def test_bearer_of_three_parts_is_judged_as_a_sign_in(client: httpx.AsyncClient, tokens: Tokens) -> None:
    for token in ("a.b.c", "..", tokens.hs()[:-2], tokens.hs(secret=b"x" * 32)):
        answer = await client.get(FOX, headers={"authorization": f"Bearer {token}"})
        assert_refused(answer, token)
    assert (await client.get(FOX, headers={"authorization": f"Bearer {tokens.hs()}"})).status_code == 200


async def test_server_without_users_refuses_every_sign_in() -> None:
    services = memory_services()
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        assert_refused(await client.get(FOX, headers={"authorization": "Bearer a.b.c"}))
    await services.request_meter.close()


async def test_caller_is_who_the_token_says(services: MemoryServices, tokens: Tokens) -> None:
    token = tokens.hs(is_anonymous=True, app_metadata={"tier": "premium"})
    caller = await caller_of(_scope(FOX, authorization=f"Bearer {token}"), services)
    assert isinstance(caller.user, User)
    assert (caller.user.is_anonymous, caller.user.tier, caller.key) == (True, "premium", None)


# --- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("[::1]:80", "::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
async def test_callers_address(client: str, address: str) -> None:
    assert address_of(parse_address(client)) == address
    services = memory_services()
    assert (await caller_of(_scope(FOX, client=client), services)).address == address
    assert (await caller_of(_scope(FOX, client=None), services)).address == "unknown"
    await services.request_meter.close()


def _scope(path: str, *, client: str | None = "192.0.2.1", **headers: str) -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None if client is None else (client, 1),
    }


# --- what a key may spend --------------------------------------------------------------------------


async def test_key_that_was_revoked_spends_nothing_while_it_is_remembered(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    kept = await keep_key(services.ledger)
    assert (await get(client, FOX, kept.text, "x-api-key")).status_code == 200
    await services.ledger.revoke_api_key(kept.record.prefix)
    refused = await get(client, "/64x64.png?text=another", kept.text, "x-api-key")
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exhausted")
    assert (await get(client, FOX, kept.text, "x-api-key")).status_code == 200
    assert services.image_provider.submits == 1


async def test_visible_key_spends_what_was_set_aside_for_it_and_no_more(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    nothing = await keep_key(services.ledger, is_visible=True)
    two = await keep_key(services.ledger, is_visible=True, cap_pictures=2)
    for key, paid in ((nothing, 0), (two, 2)):
        answers = [await get(client, f"/64x64.png?text={paid}+{n}", key.text, "query") for n in range(4)]
        assert [answer.status_code for answer in answers] == [200] * paid + [402] * (4 - paid)
    assert (await client.get("/64x64.png?text=somebody+else")).status_code == 200


async def test_pages_of_other_origins_may_send_a_key(client: httpx.AsyncClient) -> None:
    answer = await client.options(FOX, headers={"access-control-request-headers": "authorization"})
    assert (answer.status_code, answer.headers["access-control-allow-headers"]) == (204, "authorization, prefer, *")
