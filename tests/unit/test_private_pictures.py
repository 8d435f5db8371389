"""A stranger who knows a picture's hash, its keys and the name of its object learns of its existence, and no more.

Every route of the application is walked, by every method, with all of that in every place where it can stand. What is
answered is compared with the answer to the same request about a picture that nobody ever brought: it is the same,
but for the two look-ups by hash, which tell everybody what exists. A new route is walked as it is declared.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
import pytest

from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.api_keys import Scope
from copperplate.http import generation_states
from copperplate.http.app import create_app
from copperplate.recipes.kinds import PROCESSED
from copperplate.recipes.objects import original_key
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import GatedProcessor
from tests.support.tokens import SECRET, Tokens
from tests.unit.test_spending_routes import BATCH_EVENTS, GENERATION_EVENTS, KEPT, PICTURE, routes_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

METHODS: Final = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
SOURCE: Final = b"the bytes that somebody brought"
RESULT: Final = b"what was made of them, for their owner's eyes"
OTHER_USER: Final = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
UPSCALE: Final = "/api/process/upscale"
BY_HASH: Final = ("/api/process/{sha256}", "/api/process/{operation}/{sha256}")
# What stands for a name that is not known: of a picture that nobody brought.
UNKNOWN: Final = {
    name: hashlib.sha256(name.encode()).hexdigest() for name in ("hash", "key", "form", "object", "digest", "pending")
}
# Of one answer: when it was made, and how long that took.
OF_THE_MOMENT: Final = ("date", "server-timing")
# What differs by itself: ids and tokens, keys of what was asked for just now, counts, and how long something took.
CHANCE: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,}|\b\d+(?:\.\d+)?\b")
HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"prefer": "respond-async"},
    {"cache-control": "only-if-cached"},
    {"accept": "image/png,image/*;q=0.9"},
)


class House:
    """A server with one processed picture of one owner, and another that is promised to them."""

    def __init__(self) -> None:
        self.processor = GatedProcessor(gated=frozenset({"face-detail"}), bodies=[RESULT])
        environ = {
            "SUPABASE_JWT_SECRET": SECRET,
            "CRON_SECRET": "a-secret-of-the-cron-0123456789",
            "COPPERPLATE_DAILY_BUDGET_USD": "off",
            "COPPERPLATE_METRICS_TOKEN": "a-token-of-prometheus-0123456789",
        }
        self.services: MemoryServices = memory_services(environ=environ, processor=self.processor, wait_seconds=0.2)
        self.app = create_app(services=self.services)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://pictures.test"
        )
        self.tokens = Tokens(LOCAL_ISSUER, SystemClock().now())
        self.who: dict[str, dict[str, str]] = {}
        self.known: dict[str, str] = {}
        self.promised: dict[str, Any] = {}

    async def open(self) -> None:
        keys = [(await keep_key(self.services.ledger, *Scope)).text for _ in range(2)]
        self.who = {
            "owner": bearer(keys[0]),
            "stranger": {},
            "nameless": bearer(self.tokens.hs(is_anonymous=True)),
            "other user": bearer(self.tokens.hs(sub=OTHER_USER)),
            "other key": bearer(keys[1]),
        }
        sent = {**self.who["owner"], "content-type": "image/png"}
        made = await self.client.post(UPSCALE, content=SOURCE, headers=sent)
        assert made.status_code == 200, made.text
        waits = {**sent, "prefer": "respond-async"}
        promised = await self.client.post("/api/process/face-detail", content=SOURCE, headers=waits)
        assert promised.status_code == 202, promised.text
        self.promised = promised.json()
        key = made.json()["key"]
        entry = self.services.ledger._entries[original_key(key)].entry
        self.known = {
            "hash": made.json()["image_hash"],
            "key": key,
            "form": original_key(key),
            "object": entry.path.rpartition("/")[2].partition(".")[0],
            "digest": entry.digest,
            "pending": self.promised["key"],
        }

    async def close(self) -> None:
        self.processor.gate.set()
        await self.client.aclose()
        await self.services.shut_down(within_seconds=5)
        await self.services.request_meter.close()

    async def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {**self.who[who], **more.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **more)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.open()
    yield house
    await house.close()


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def names_of(known: Mapping[str, str]) -> list[str]:
    """Everything a picture can be asked for by."""
    path = f"2026/11/{known['object']}.png"
    return [known["hash"], known["key"], known["form"], known["pending"], path, f"{PROCESSED.bucket}/{path}"]


def places_of(template: str, known: Mapping[str, str]) -> Iterator[str]:
    """The addresses of a route, with what is known in each of its places."""
    path = f"2026/11/{known['object']}.png"
    fillings: dict[str, list[str]] = {
        "key": names_of(known)[:4],
        "sha256": [known["hash"], known["key"], known["digest"]],
        "id:path": names_of(known),
        "id": names_of(known),
        "operation": ["upscale", "remove-background", "uploads"],
        "bucket": [PROCESSED.bucket, "generated-images"],
        "path:path": [path],
        "batch_id": [known["key"]],
        "width": ["64"],
        "height": ["64"],
        "format": ["png"],
    }
    places = re.findall(r"\{([^}]+)\}", template)
    assert set(places) <= fillings.keys(), f"say what stands in {template}"
    for chosen in itertools.product(*(fillings[place] for place in places)):
        values = iter(chosen)
        yield re.sub(r"\{[^}]+\}", lambda _: next(values), template)  # noqa: B023 - used at once


def queries_of(known: Mapping[str, str]) -> list[str]:
    """What a query may hold of it."""
    name = known["key"]
    path = f"/storage/v1/object/sign/{PROCESSED.bucket}/2026/11/{known['object']}.png"
    return [
        "",
        f"?token={'A' * 43}&key={name}",
        f"?token=4102444800.{'A' * 43}",
        f"?url={quote(f'/api/images/{name}', safe='')}&other={quote(path, safe='')}",
        "?w=32&format=webp&placeholder=1",
        f"?text={name}&prompt={name}&source={name}&upload={name}&image_hash={known['hash']}",
    ]


def bodies_of(known: Mapping[str, str]) -> list[Any]:
    """What a body may hold of it."""
    found: list[Any] = []
    for name in names_of(known):
        found += [{"source": name}, {"upload": name}, {"prompts": [name], "dimensions": "64x64"}]
        found += [{"items": [{"key": name}, {"source": name}]}]
    rectangle = {"x": 0, "y": 0, "width": 8, "height": 8}
    return [*found, {"source": known["key"], "parent": known["key"], "crop": rectangle}]


def requests_of(template: str, known: Mapping[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything a stranger may send to a route: a method, an address and the rest."""
    for number, place in enumerate(places_of(template, known)):
        for method in METHODS if number == 0 else ("GET", "HEAD"):
            yield method, place, {}
        for query in queries_of(known)[1:]:
            yield "GET", place + query, {}
        for headers in HEADERS[1:]:
            yield "GET", place, {"headers": headers}
        for tag in (known["digest"], known["form"], known["key"]):
            yield "GET", place, {"headers": {"if-none-match": f'"{tag}"'}}
    first = next(places_of(template, known))
    yield "POST", first, {}
    for body in bodies_of(known):
        yield "POST", first, {"json": body}


def told(answer: httpx.Response, known: Mapping[str, str]) -> tuple[Any, ...]:
    """An answer, with what was known in it replaced by what it is."""
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in OF_THE_MOMENT)
    text = f"{answer.status_code}\n{headers}\n{answer.content!r}"
    for name, value in known.items():
        text = text.replace(value, f"<{name}>").replace(value[:16], f"<{name}>").replace(value[:12], f"<{name}>")
    return tuple(CHANCE.sub("<chance>", text).split("\n"))


def assert_nothing_told(answer: httpx.Response, house: House, *, may: tuple[str, ...] = ()) -> None:
    """No bytes, no address, and nothing that a stranger did not send."""
    sent = b"\n".join((*(value.encode() for value in answer.headers.values()), answer.content))
    kept = house.services.stores[PROCESSED.bucket]._objects
    for secret in (RESULT, SOURCE, *kept.values()):
        assert secret not in sent
    for path in kept:
        assert f"{path}?token=".encode() not in sent
    assert house.known["digest"].encode() not in sent or "digest" in may


@pytest.mark.parametrize("who", ["stranger", "other user", "other key"])
async def test_every_route_answers_strangers_as_if_there_were_no_such_picture(house: House, who: str) -> None:
    count = 0
    for template in sorted(routes_in(house.app.routes) | {PICTURE, KEPT, GENERATION_EVENTS, BATCH_EVENTS}):
        if template in BY_HASH or template == "/api/cache/cleanup":
            continue
        asked = list(requests_of(template, house.known))
        for (method, path, more), (_, nowhere, less) in zip(asked, requests_of(template, UNKNOWN), strict=True):
            answer = await house.ask(who, method, path, **more)
            if method == "POST" and answer.status_code == 405:
                break  # the bodies come last
            absent = await house.ask(who, method, nowhere, **less)
            assert_nothing_told(answer, house, may=("digest",) if "if-none-match" in str(more) else ())
            is_same = (answer.status_code, answer.content) == (absent.status_code, absent.content)
            if not is_same or answer.headers != absent.headers:
                assert told(answer, house.known) == told(absent, UNKNOWN), (method, path, more)
            count += 1
    assert count > 500


@pytest.mark.parametrize("who", ["stranger", "nameless", "other user", "other key"])
async def test_by_hash_strangers_learn_that_a_result_exists_and_neither_its_address_nor_its_bytes(
    house: House, who: str
) -> None:
    for template in BY_HASH:
        for method, path, more in requests_of(template, house.known):
            answer = await house.ask(who, method, path, **more)
            assert_nothing_told(answer, house, may=("digest",))
            assert answer.status_code not in (206, 302, 303, 304, 500), (method, path)
    known = await house.ask(who, "GET", f"/api/process/{house.known['hash']}")
    assert (known.status_code, known.json()["upscaled"], known.json()["urls"]) == (200, True, None)
    one = await house.ask(who, "GET", f"{UPSCALE}/{house.known['hash']}", headers={"accept": "image/png"})
    assert (one.status_code, one.json()["exists"], one.json().get("url")) == (200, True, None)


async def test_its_owner_has_the_picture_by_each_of_these_ways(house: House) -> None:
    hash_, key = house.known["hash"], house.known["key"]
    state = (await house.ask("owner", "GET", f"/api/generations/{key}")).json()
    known = (await house.ask("owner", "GET", f"/api/process/{hash_}")).json()
    one = (await house.ask("owner", "GET", f"{UPSCALE}/{hash_}")).json()
    for url in (state["url"], known["urls"]["upscaled"], one["url"]):
        loaded = await house.client.get(url)
        assert (loaded.status_code, loaded.content) == (200, RESULT)
    assert state["url_expires_at"] is not None
    stream = await house.ask("owner", "GET", f"/api/generations/{key}/events")
    assert "?token=" in stream.text
    picture = await house.ask("owner", "GET", f"{UPSCALE}/{hash_}", headers={"accept": "image/png"})
    assert picture.content == RESULT
    again = await house.ask("owner", "POST", "/api/process/remove-background", json={"source": key})
    assert (again.status_code, again.json()["success"]) == (200, True)
    pending = await house.ask("owner", "GET", f"/api/generations/{house.known['pending']}")
    assert (pending.status_code, pending.json()["url"]) == (200, None)
    # By its key no picture of a private kind is served, to its owner neither: it has no forms and no lasting address.
    assert (await house.ask("owner", "GET", f"/api/images/{key}")).status_code == 404


async def test_a_final_event_keeps_its_id_though_its_address_is_another_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = (f"https://storage.test/signed?token={number}" for number in itertools.count())

    async def private_address(*_: object) -> tuple[str, datetime]:
        return next(addresses), datetime.now(UTC)

    monkeypatch.setattr(generation_states, "private_address", private_address)
    path = f"/api/generations/{house.known['key']}/events"
    first = await house.ask("owner", "GET", path)
    told_id = re.search(r"id: (\S+)", first.text)
    assert told_id is not None
    again = await house.ask("owner", "GET", path, headers={"last-event-id": told_id[1]})
    assert again.status_code == 204


async def test_who_sends_the_bytes_has_a_token_and_with_it_the_picture(house: House) -> None:
    sent = {"content-type": "image/png", "prefer": "respond-async"}
    answer = await house.ask("stranger", "POST", "/api/process/face-detail", content=SOURCE, headers=sent)
    assert answer.status_code == 202, answer.text
    events = answer.json()["events"]
    query = events.partition("?")[2]
    state = f"/api/generations/{house.known['pending']}"
    assert (await house.ask("stranger", "GET", f"{state}?{query}")).json()["status"] in ("pending", "generating")
    assert (await house.ask("stranger", "GET", state)).status_code == 404
    wrong = await house.ask("stranger", "GET", f"/api/generations/{house.known['key']}?{query}")
    assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_event_token")
    house.processor.gate.set()
    stream = await asyncio.wait_for(house.ask("stranger", "GET", events), 20)
    assert "event: completed" in stream.text
    url = (await house.ask("stranger", "GET", f"{state}?{query}")).json()["url"]
    assert url in stream.text.replace("\\u0026", "&") or "?token=" in stream.text
    assert (await house.client.get(url)).status_code == 200


async def test_a_lost_object_has_no_address(house: House) -> None:
    store = house.services.stores[PROCESSED.bucket]
    entry = house.services.ledger._entries[house.known["form"]].entry
    await store.remove([entry.path])
    answer = await house.ask("owner", "GET", f"/api/generations/{house.known['key']}")
    assert answer.status_code == 404 or answer.json()["url"] is None


async def test_no_line_of_the_log_holds_an_address_that_is_signed(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    url = (await house.ask("owner", "GET", f"/api/generations/{house.known['key']}")).json()["url"]
    await house.client.get(url)
    await house.client.get(url[:-1])
    lines = [line for line in caplog.messages if not line.startswith("HTTP Request")]  # the client's own
    assert not [line for line in lines if "token=" in line or url.partition("token=")[2] in line]
