"""Every route of the application passes the gate before a provider is asked: the table below has all of them.

A route that is not in it fails the first test. Each request of the table is sent by a stranger, and with the wall at
zero by everybody; the provider, which bills, must not be asked once. With a permit the same requests do reach it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import httpx
import pytest
from starlette.routing import Route

from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.generation.lookup import LookupOptions
from copperplate.http.app import create_app
from copperplate.http.dependencies import ServicesDep  # noqa: TC001 - FastAPI reads it
from copperplate.testing import PERMIT
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request
from tests.support.tokens import SECRET, USER, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from copperplate.http.app import Application

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CRON_SECRET: Final = "a-secret-of-the-cron-0123456789"
METRICS_TOKEN: Final = "a-token-of-prometheus-0123456789"
OPERATOR: Final = {"authorization": f"Bearer {CRON_SECRET}"}
# Their addresses are answered before routing: no route has them.
PICTURE: Final = "/{width}x{height}.{format}"
KEPT: Final = "/api/images/{id}"
MEMOJI: Final = "/api/generate-memoji"
GENERATE: Final = "/api/generate"
CUT_OUT: Final = "/api/process/remove-background"
UPSCALE: Final = "/api/process/upscale"
FACES: Final = "/api/process/face-detail"
GENERATION_EVENTS: Final = "/api/generations/{key}/events"
BATCH_EVENTS: Final = "/api/batches/{batch_id}/events"
FORGED: Final = f"kid=one&exp=4102444800&sig={'A' * 43}"
KEY: Final = "0" * 64
NOBODYS: Final = "5b2e7a44-0c1d-4f3e-9a6b-7c8d9e0f1a2b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that a caller may well send."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    content: bytes | None = None


def _at(path: str, **headers: str) -> Asked:
    return Asked(path=path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _picture(path: str, content: bytes, **headers: str) -> Asked:
    """Bytes of a picture that nobody sent before."""
    return Asked(path=path, content=content, headers={"content-type": "image/png", **headers})


def _form(path: str, content: bytes) -> Asked:
    """The same as a file of a form."""
    form = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n%b\r\n--x--\r\n' % content
    return Asked(path=path, content=form, headers={"content-type": "multipart/form-data; boundary=x"})


# By path, as the application declares it: what to send there, by any method. A new route needs a row, and one in SPENDS
# if it can cause a provider's call; such a route asks `services.gate` for its permit.
TABLE: Final[dict[str, tuple[Asked, ...]]] = {
    PICTURE: (
        _at("/64x64.jpg?text=a%20red%20fox"),
        _at("/64x64.jpeg?prompt=a%20blue%20fox&seed=7"),
        _at("/64x64.png?text=a%20green%20fox", if_none_match="*"),
        _at("/64x64.webp?text=a%20grey%20fox", cache_control="no-cache", x_forwarded_for="192.0.2.9"),
        _at(f"/64x64.webp?text=a%20white%20fox&{FORGED}"),
        _at("/64x64.jpg?text=a%20fox%20that%20can%20wait", prefer="respond-async"),
    ),
    GENERATE: (
        Asked(path=GENERATE, body={"prompt": "a red hen", "width": 64, "height": 64}),
        Asked(path=GENERATE, body={"prompt": "a blue hen", "w": 32}, headers={"idempotency-key": "order 1"}),
        Asked(path=GENERATE, body={"text": "a grey hen", "seed": 7}, headers={"prefer": "respond-async"}),
        Asked(path=GENERATE, body={"prompt": "a green hen", "format": "auto"}, headers={"prefer": "wait=9"}),
    ),
    MEMOJI: (
        Asked(path=MEMOJI, body={}),
        Asked(path=MEMOJI, body={"hair": "curly"}, headers={"idempotency-key": "order 1"}),
        Asked(path=MEMOJI, body={"hair": "bob"}, headers={"prefer": "respond-async"}),
    ),
    CUT_OUT: (_picture(CUT_OUT, b"one"), _picture(CUT_OUT, b"two", prefer="respond-async"), _form(CUT_OUT, b"three")),
    UPSCALE: (
        _picture(UPSCALE, b"one", accept="image/*"),
        _picture(f"{UPSCALE}?scale=3", b"one"),
        _form(UPSCALE, b"two"),
    ),
    FACES: (_picture(FACES, b"one"), _picture(FACES, b"two", prefer="wait=9"), _form(FACES, b"three")),
    "/api/process": (_at("/api/process"),),
    "/api/process/{sha256}": (_at(f"/api/process/{KEY}"), _at("/api/process/blur")),
    "/api/process/{operation}/{sha256}": (_at(f"{UPSCALE}/{KEY}?scale=3"), _at(f"{FACES}/{KEY}", accept="image/*")),
    KEPT: (
        _at(f"/api/images/{KEY}"),
        _at(f"/api/images/{KEY}?w=32&format=auto"),
        _at(f"/api/images/{KEY}?placeholder"),
        _at(f"/api/images/generated-images/2026/11/{KEY}.png"),
    ),
    "/api/images/{id:path}/info.json": (_at(f"/api/images/{KEY}/info.json"),),
    "/api/generations/{key}": (_at(f"/api/generations/{KEY}"), _at(f"/api/generations/{'f' * 64}")),
    GENERATION_EVENTS: (
        _at(f"/api/generations/{KEY}/events"),
        _at(f"/api/generations/{'f' * 64}/events?token=x", last_event_id="final-0"),
    ),
    BATCH_EVENTS: (_at(f"/api/batches/{NOBODYS}/events"), _at(f"/api/batches/{KEY}/events")),
    # Batches are kept, looked at and canceled here; work steps make their members.
    "/api/batches/{batch_id}": (_at(f"/api/batches/{NOBODYS}"), _at(f"/api/batches/{KEY}")),
    "/api/batches/{batch_id}/cancel": (_at(f"/api/batches/{NOBODYS}/cancel"),),
    "/api/credits": (_at("/api/credits"),),
    "/api/budget": (_at("/api/budget"),),
    "/api/explain": (
        _at("/api/explain?url=%2F64x64.jpg%3Ftext%3Da"),
        _at("/api/explain?text=a%20red%20fox&width=64&height=64&format=jpg"),
        _at("/api/explain?memoji=%7B%7D"),
    ),
    "/api/generation/stats": (_at("/api/generation/stats"),),
    "/api/cache/stats": (_at("/api/cache/stats"),),
    "/api/cache/cleanup": (
        _at("/api/cache/cleanup"),
        _at("/api/cache/cleanup", **OPERATOR),
        _at("/api/cache/cleanup?dry_run=true", **OPERATOR),
    ),
    # What it makes was permitted when it was wished for, and is booked by its wish: tests/unit/test_http_work.py.
    "/api/work": (_at("/api/work"), _at("/api/work", **OPERATOR)),
    "/storage/v1/object/public/{bucket}/{path:path}": (
        _at(f"/storage/v1/object/public/generated-images/2026/11/{KEY}.png"),
        _at(f"/storage/v1/object/public/memoji-images/2026/11/{KEY}.png"),
    ),
    "/storage/v1/object/sign/{bucket}/{path:path}": (
        _at(f"/storage/v1/object/sign/processed-images/2026/11/{KEY}.png?token=4102444800.{'A' * 43}"),
    ),
    "/api/process/uploads": (Asked(path="/api/process/uploads", body={"content_type": "image/png", "size_bytes": 9}),),
    "/metrics": (_at("/metrics"), _at("/metrics", authorization=f"Bearer {METRICS_TOKEN}")),
    "/readyz": (_at("/readyz"),),
    "/healthz": (_at("/healthz"),),
    "/": (_at("/"),),
    "/docs": (_at("/docs"),),
    "/robots.txt": (_at("/robots.txt"),),
    "/openapi.json": (_at("/openapi.json"),),
    # It keeps a batch. The last one: the work steps of operators' requests would make it.
    "/api/cache/warm": (Asked(path="/api/cache/warm", body={"prompts": ["a warm fox"], "dimensions": "64x64"}),),
}
# What can cause a provider's call.
PROCESSES: Final = {("POST", CUT_OUT), ("POST", UPSCALE), ("POST", FACES)}
SPENDS: Final = {("GET", PICTURE), ("POST", GENERATE), ("POST", MEMOJI), *PROCESSES}
# What answers before routing, and what of it can spend. A new one needs a row here, and its addresses one in TABLE.
FRONT: Final = {
    "Invocation": (),
    "HotPictures": (PICTURE,),
    "Streams": (GENERATION_EVENTS, BATCH_EVENTS),
    "Pictures": (PICTURE, KEPT),
    "Configured": (),
    "Identified": (),
}


def routes_in(routes: Iterable[Any], prefix: str = "") -> set[str]:
    """Every path that is routed, those of included routers too; what cannot be enumerated fails."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route):
            found.add(prefix + route.path)
        else:  # FastAPI keeps a router that was included as it is
            router = getattr(route, "original_router", None)
            assert router is not None, f"say how the routes of {route!r} are enumerated"
            found |= routes_in(router.routes, prefix + route.include_context.prefix)
    return found


def _front(app: Application) -> Iterator[str]:
    """The classes before routing, from outside in; then those that calls on Vercel pass."""
    ways: list[Any] = [app.front, getattr(app.front, "_invocation", None)]
    for way in ways:
        step = way
        while hasattr(step, "_app"):
            yield type(step).__name__
            step = step._app


def undeclared(app: Application) -> str:
    """What to add to the table; empty where it is complete."""
    wanting = sorted(routes_in(app.routes) - TABLE.keys())
    gone = sorted(TABLE.keys() - {PICTURE, KEPT, GENERATION_EVENTS, BATCH_EVENTS} - routes_in(app.routes))
    before = sorted(set(_front(app)) - FRONT.keys())
    return "".join(
        (
            *(
                f"add requests for {path!r} to TABLE, and to SPENDS if it can cause a provider's call\n"
                for path in wanting
            ),
            *(f"remove {path!r} from TABLE: there is no such route\n" for path in gone),
            *(f"add {name!r} to FRONT, and the addresses that it answers to TABLE\n" for name in before),
        )
    )


class Callers:
    """One application over memory whose provider bills and counts, and those who ask it.

    `answers` are those to each method and path.
    """

    def __init__(self, **settings: str) -> None:
        self.services: MemoryServices = memory_services(
            environ={
                "SUPABASE_JWT_SECRET": SECRET,
                "CRON_SECRET": CRON_SECRET,
                "COPPERPLATE_METRICS_TOKEN": METRICS_TOKEN,
                "COPPERPLATE_URL_SIGNING_KEYS": f"one:{SECRET}",
                **settings,
            }
        )
        self.app = create_app(services=self.services)
        self._tokens = Tokens(LOCAL_ISSUER, SystemClock().now())
        self._key = ""
        self.answers: dict[tuple[str, str], list[httpx.Response]] = {}

    async def open(self) -> None:
        """Give the user and the stranger credits, and make a key that may generate."""
        await self.services.ledger.grant_credits(UUID(USER), 100, "order 1")
        self._key = (await keep_key(self.services.ledger)).text

    def credentials(self, who: str) -> dict[str, str]:
        """What somebody sends: `nobody` nothing, `bearer` what belongs to nobody."""
        sent = {
            "bearer": "not-a-key-of-ours",
            "user": self._tokens.hs(),
            "stranger": self._tokens.hs(is_anonymous=True),
            "key": self._key,
        }
        return {"authorization": f"Bearer {sent[who]}"} if who in sent else {}

    async def spenders(self, who: str) -> dict[tuple[str, str], int]:
        """Send the whole table by every method: what caused calls of the provider, and how many."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
            calls = {
                (method, path): await self._calls_of(client, method, path, who) for path in TABLE for method in METHODS
            }
        return {route: number for route, number in calls.items() if number}

    @property
    def _submits(self) -> int:
        return self.services.image_provider.submits + self.services.processor.submits

    async def _calls_of(self, client: httpx.AsyncClient, method: str, path: str, who: str) -> int:
        before = self._submits
        self.answers[method, path] = [
            await client.request(
                method,
                asked.path,
                headers={**self.credentials(who), **asked.headers},
                json=asked.body,
                content=asked.content,
            )
            for asked in TABLE[path]
        ]
        assert 500 not in [answer.status_code for answer in self.answers[method, path]], (method, path)
        for _ in range(100):  # what goes on in the background
            await asyncio.sleep(0)
        return self._submits - before


@pytest.fixture
async def make_callers() -> AsyncIterator[Any]:
    made: list[Callers] = []

    async def make(**settings: str) -> Callers:
        callers = Callers(**settings)
        made.append(callers)
        await callers.open()
        return callers

    yield make
    for each in made:
        await each.services.request_meter.close()


async def test_every_route_is_in_the_table(make_callers: Any) -> None:
    assert undeclared((await make_callers()).app) == ""


@pytest.mark.parametrize("who", ["nobody", "bearer"])
async def test_a_stranger_spends_nothing_where_a_miss_needs_a_key(make_callers: Any, who: str) -> None:
    callers = await make_callers(COPPERPLATE_ACCESS="keys")
    assert await callers.spenders(who) == {}
    refusals = [answer for route in SPENDS for answer in callers.answers[route]]
    assert {answer.status_code for answer in refusals} == {401, 403}
    assert {answer.headers["cache-control"] for answer in refusals} == {"no-store"}


@pytest.mark.parametrize("who", ["nobody", "stranger", "user", "key"])
async def test_nobody_spends_anything_behind_a_wall_of_nothing(make_callers: Any, who: str) -> None:
    callers = await make_callers(COPPERPLATE_DAILY_BUDGET_USD="0")
    assert await callers.spenders(who) == {}
    for route in SPENDS:
        # Memoji are for people alone; a signature that is none of ours is refused before any budget is read.
        expected = {401} if route[1] == MEMOJI and who in ("nobody", "key") else {402, 403}
        assert {answer.status_code for answer in callers.answers[route]} <= expected
        assert {answer.headers["cache-control"] for answer in callers.answers[route]} == {"no-store"}


@pytest.mark.parametrize(
    ("who", "may"),
    [("user", SPENDS), ("stranger", SPENDS), ("key", {("GET", PICTURE), ("POST", GENERATE), *PROCESSES})],
)
async def test_with_a_permit_the_same_requests_reach_the_provider_where_they_can_spend(
    make_callers: Any, who: str, may: set[tuple[str, str]]
) -> None:
    callers = await make_callers(COPPERPLATE_ACCESS="keys")
    assert await callers.spenders(who) == {(method, path): len(TABLE[path]) for method, path in may}


async def test_a_new_route_that_spends_without_the_gate_is_found(
    make_callers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = await make_callers(COPPERPLATE_ACCESS="keys", COPPERPLATE_DAILY_BUDGET_USD="0")

    async def warm(services: ServicesDep) -> str:
        await services.coordinator.find(picture_request(), LookupOptions(permit=PERMIT))
        return "warm"

    callers.app.add_api_route("/api/warm", warm)
    assert undeclared(callers.app) == (
        "add requests for '/api/warm' to TABLE, and to SPENDS if it can cause a provider's call\n"
    )
    monkeypatch.setitem(TABLE, "/api/warm", (_at("/api/warm"),))
    assert undeclared(callers.app) == ""
    assert await callers.spenders("nobody") == {("GET", "/api/warm"): 1}


async def test_what_answers_before_routing_is_found(make_callers: Any) -> None:
    class Thumbnails:
        def __init__(self, app: Any) -> None:
            self._app = app

    callers = await make_callers()
    callers.app.front = Thumbnails(callers.app.front)
    assert undeclared(callers.app) == "add 'Thumbnails' to FRONT, and the addresses that it answers to TABLE\n"
