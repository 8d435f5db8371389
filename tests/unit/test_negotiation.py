"""`.auto` answers what the caller's Accept header promises to read, and no shared cache may store the answer."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from copperplate.http.app import create_app
from copperplate.http.negotiation import MAX_ACCEPT_BYTES, negotiated_format, not_shared
from tests.support.memory_services import MemoryServices
from tests.support.painting_services import painting_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.support.memory_services import MemoryServices


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    async with painting_services() as made:
        yield made


CHROMIUM = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
OLD_SAFARI = "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (CHROMIUM, "webp"),
        (FIREFOX, "webp"),
        (OLD_SAFARI, "webp"),
        ("", "jpg"),
        ("*/*", "jpg"),
        ("image/*", "jpg"),
        ("text/html", "jpg"),
        ("image/avif;q=0, image/webp", "webp"),
        ("image/avif;q=0.000,image/webp;q=0.0", "jpg"),
        ("IMAGE/AVIF ; Q=0.5 , image/webp;q=0.4", "avif"),
        ("image/avif;q=0.4, image/webp;q=0.5", "webp"),
        ("image/webp;q=0.1, image/jpeg", "jpg"),
        ("image/avif;q=1.5", "jpg"),
        ("image/avif;q=", "jpg"),
        ("image/avif;q=0.1234", "jpg"),
        ("image/avif;q=nan", "jpg"),
        ("image/avif;q=-1", "jpg"),
        ("image/avif;q=1;q=0", "jpg"),
        ("image/avif;level=1;q=0.7", "avif"),
        (",;,=,image/webp,;q", "webp"),
        ('text/html;a=",image/avif,"', "jpg"),
        ('text/html;a="\\",image/avif,", image/webp', "webp"),
        ('image/webp;a="b;q=0"', "webp"),
        ("image/avif;q=0,image/avif", "jpg"),
        ("image/avif,image/avif;q=0", "jpg"),
        ("image/webp;q=0.000, image/avif;q=0.5, image/webp", "avif"),
        ("image/avif;q=0.2, image/avif;q=0.9, image/jpeg;q=0.5", "avif"),
        ('image/webp;q="0.5"', "jpg"),
        ('image/"x"webp', "jpg"),
        ('image/webp, text/html;a="image/avif,', "webp"),
        ('image/webp, "\\', "webp"),
        ("\\" + '"\\' * 50_000, "jpg"),
        ("image/avif2, ximage/webp", "jpg"),
        ("\x00\xff, image/webp", "webp"),
        ("text/html," * 10_000 + "image/avif", "jpg"),
        ("image/webp," + "a" * 100_000, "webp"),
        ("a" * 100_000, "jpg"),
    ],
)
def test_format_is_one_that_is_promised(accept: str, chosen: str) -> None:
    assert negotiated_format([(b"accept", accept.encode("latin-1"))]) == chosen


def test_several_headers_are_one_list_and_none_promises_nothing() -> None:
    assert negotiated_format([(b"accept", b"text/html"), (b"accept", b"image/webp")]) == "webp"
    assert negotiated_format([(b"accept-language", b"image/webp")]) == "jpg"
    assert 10 * len(CHROMIUM) <= MAX_ACCEPT_BYTES


def assert_not_shared(answer: httpx.Response) -> None:
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["cdn-cache-control"] == answer.headers["vercel-cdn-cache-control"] == "no-store"
    assert "public" not in answer.headers["cache-control"]


async def test_every_answer_of_a_negotiated_address_is_private(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    formats = {"image/avif": "AVIF", "image/webp": "WEBP", "*/*": "JPEG"}
    etags = set()
    for accept, name in formats.items():
        answer = await client.get("/64x64.auto?text=a&w=32", headers={"accept": accept})
        assert (answer.status_code, Image.open(BytesIO(answer.content)).format) == (200, name)
        assert answer.headers["content-type"] == f"image/{name.lower()}"
        assert answer.headers["cache-control"] == "private, max-age=3600, immutable"
        assert_not_shared(answer)
        held = {"accept": accept, "if-none-match": answer.headers["etag"]}
        again = await client.get("/64x64.auto?text=a&w=32", headers=held)
        head = await client.head("/64x64.auto?text=a&w=32", headers={"accept": accept})
        assert (again.status_code, head.status_code) == (304, 200)
        assert_not_shared(again)
        assert_not_shared(head)
        etags.add(answer.headers["etag"])
    assert len(etags) == 3
    assert services.image_provider.submits == 1
    explicit = await client.get("/64x64.webp?text=a&w=32")
    assert explicit.headers["etag"] in etags
    assert "vary" not in explicit.headers


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (b"public, max-age=3600, immutable", b"private, max-age=3600, immutable"),
        (b"max-age=300,public", b"private, max-age=300"),
        (b"max-age=300", b"private, max-age=300"),
        (b"private, max-age=300", b"private, max-age=300"),
        (b"no-store", b"no-store"),
    ],
)
async def test_no_lifetime_is_left_to_shared_caches(stored: bytes, told: bytes) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await not_shared(send)(
        {"type": "http.response.start", "status": 200, "headers": [(b"cache-control", stored), (b"age", b"1")]}
    )
    assert sent[0]["headers"][:2] == [(b"cache-control", told), (b"age", b"1")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/64x64.auto", 400),
        ("GET", "/64x64.auto?text=a&w=0", 400),
        ("GET", "/64X64.auto?text=a", 400),
        ("HEAD", "/64x64.auto?text=unmade", 404),
        ("POST", "/64x64.auto?text=a", 405),
    ],
)
async def test_errors_of_a_negotiated_address_are_private_too(
    client: httpx.AsyncClient, services: MemoryServices, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, headers={"accept": CHROMIUM})
    assert answer.status_code == status
    assert_not_shared(answer)
    assert services.image_provider.submits == 0


async def test_two_hosts_are_refused_privately_too(services: MemoryServices) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/64x64.auto",
        "query_string": b"text=a",
        "headers": [(b"host", b"a"), (b"host", b"b")],
    }
    await create_app(services=services)(scope, receive, send)
    assert (sent[0]["status"], (b"vary", b"Accept") in sent[0]["headers"]) == (400, True)


async def test_a_page_that_is_none_stays_none(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nowhere.auto")).status_code == 404
    assert (await client.options("/64x64.auto?text=a")).status_code == 204
