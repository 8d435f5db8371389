"""Private objects where the store has no addresses of its own: this server signs them, for ten minutes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from copperplate.access.object_tokens import object_token
from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import InvalidHost
from copperplate.http.addresses import addresses_of, private_address
from copperplate.http.app import create_app
from copperplate.model import Entry
from copperplate.recipes.kinds import IMAGE, MEMOJI, PROCESSED
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.memory_services import MemoryServices

PATH: Final = f"2026/11/{'ab' * 32}.png"
BODY: Final = b"a picture that nobody else may see"
HOST: Final = "pictures.test"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def services(clock: FakeClock) -> AsyncIterator[MemoryServices]:
    made = memory_services(clock=clock, environ={"COPPERPLATE_ALLOWED_HOSTS": HOST})
    await made.stores[PROCESSED.bucket].put(PATH, BODY, media_type="image/png")
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
        yield client


def entry_at(path: str, kind: str = PROCESSED.name) -> Entry:
    return Entry(
        kind=kind,
        key="1" * 64,
        generation_key="2" * 64,
        path=path,
        digest="3" * 64,
        size_bytes=len(BODY),
        format="png",
        width=8,
        height=8,
        is_original=True,
    )


def scope(host: str = HOST) -> dict[str, Any]:
    return {"type": "http", "scheme": "http", "headers": [(b"host", host.encode())], "server": ("10.0.0.1", 80)}


async def test_whoever_has_the_address_loads_the_object_for_ten_minutes(
    services: MemoryServices, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    url, expires_at = await private_address(scope(), services, entry_at(PATH))
    assert url.startswith(f"http://{HOST}/storage/v1/object/sign/{PROCESSED.bucket}/{PATH}?token=")
    assert timedelta(minutes=10) - timedelta(seconds=1) < expires_at - clock.now() <= timedelta(minutes=10)
    answer = await client.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, BODY, "image/png")
    safe = {
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "content-disposition": "inline",
        "access-control-allow-origin": "*",
    }
    assert {name: answer.headers[name] for name in safe} == safe
    assert "x-copperplate-ignored" not in answer.headers
    kept, age = answer.headers["cache-control"].split(", max-age=")
    assert kept == "private"
    assert 598 <= int(age) <= 600
    await clock.advance(599)
    late = await client.get(url)
    assert (late.status_code, late.headers["cache-control"]) == (200, "private, max-age=1")
    await clock.advance(1)
    over = await client.get(url)
    assert (over.status_code, over.json()["code"]) == (403, "signature_expired")
    assert over.headers["cache-control"] == "no-store"


async def test_a_part_of_an_object_is_answered(services: MemoryServices, client: httpx.AsyncClient) -> None:
    url, _ = await private_address(scope(), services, entry_at(PATH))
    part = await client.get(url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, BODY[1:4])
    assert part.headers["content-range"] == f"bytes 1-3/{len(BODY)}"
    assert part.headers["cache-control"].startswith("private, max-age=")
    # An object has no entity tag here, so nothing says that it is still the same.
    for headers in ({"Range": "bytes=1-3", "If-Range": '"a"'}, {"Range": "bytes=0-0,2-2"}):
        whole = await client.get(url, headers=headers)
        assert (whole.status_code, whole.content) == (200, BODY)
        assert whole.headers["accept-ranges"] == "bytes"
    none = await client.get(url, headers={"Range": f"bytes={len(BODY)}-"})
    assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{len(BODY)}")
    assert none.headers["cache-control"] == "no-store"
    assert (await client.head(url, headers={"Range": "bytes=1-3"})).status_code == 200
    refused = await client.get(url.replace("token=", "token=x"), headers={"Range": "bytes=1-3"})
    assert refused.status_code == 403


async def test_a_head_is_answered_alike(services: MemoryServices, client: httpx.AsyncClient) -> None:
    url, _ = await private_address(scope(), services, entry_at(PATH))
    assert (await client.head(url)).headers["content-length"] == str(len(BODY))


async def test_a_token_is_good_for_its_object_and_its_time_alone(
    services: MemoryServices, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    store, other = services.stores[PROCESSED.bucket], PATH.replace("ab", "cd")
    await store.put(other, BODY, media_type="image/png")
    secret, soon = await store.address_secret(), clock.now() + timedelta(minutes=5)
    good = object_token(secret, PROCESSED.bucket, PATH, soon)
    expires, code = good.split(".")
    forged = [
        "",
        code,
        f".{code}",
        f"{expires}.",
        f"0{expires}.{code}",
        f"+{expires}.{code}",
        f"{int(expires) + 1}.{code}",
        f"{expires}.{code[:-1]}",
        f"{expires}.{code}A",
        f"{expires}.{code[:-1]}{'A' if code[-1] != 'A' else 'B'}",
        f"{expires}.{code.swapcase()}",
        f"{good}%0A",
        f"{'9' * 400}.{code}",
        object_token(secret, PROCESSED.bucket, other, soon),
        object_token(secret, MEMOJI.bucket, PATH, soon),
        object_token(b"0" * 32, PROCESSED.bucket, PATH, soon),
        object_token(b"", PROCESSED.bucket, PATH, soon),
    ]
    address = f"/storage/v1/object/sign/{PROCESSED.bucket}/{PATH}"
    assert (await client.get(f"{address}?token={good}")).content == BODY
    for token in forged:
        answer = await client.get(f"{address}?token={token}")
        assert (answer.status_code, answer.json()["code"]) == (403, "invalid_signature"), token
    assert (await client.get(address)).status_code == 403
    # The last one counts where it is repeated, and a secret of another installation counts nowhere.
    assert (await client.get(f"{address}?token={good}&token=none")).status_code == 403


async def test_an_object_that_is_not_there_is_refused_as_one_that_is(
    services: MemoryServices, client: httpx.AsyncClient
) -> None:
    absent = PATH.replace("ab", "00")
    answers = [
        await client.get(f"/storage/v1/object/sign/{PROCESSED.bucket}/{path}?token=1.{'A' * 43}")
        for path in (PATH, absent)
    ]
    assert answers[0].status_code == answers[1].status_code == 403
    assert answers[0].content == answers[1].content
    assert services.stores[PROCESSED.bucket].gets == 0, "nothing is read for a token that is none of ours"
    url, _ = await private_address(scope(), services, entry_at(absent))
    assert (await client.get(url)).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_private_bucket_has_no_public_addresses(
    services: MemoryServices, client: httpx.AsyncClient, method: str
) -> None:
    answer = await client.request(method, f"/storage/v1/object/public/{PROCESSED.bucket}/{PATH}")
    absent = await client.request(method, f"/storage/v1/object/public/{PROCESSED.bucket}/{PATH.replace('ab', '00')}")
    assert (answer.status_code, answer.content) == (404, absent.content)
    assert services.stores[PROCESSED.bucket].gets == 0
    with pytest.raises(ValueError, match="private"):
        addresses_of(scope(), services)(entry_at(PATH))


async def test_a_public_bucket_has_no_signed_addresses(services: MemoryServices, client: httpx.AsyncClient) -> None:
    store = services.stores[IMAGE.bucket]
    await store.put(PATH, BODY, media_type="image/png")
    token = object_token(await store.address_secret(), IMAGE.bucket, PATH, services.clock.now() + timedelta(minutes=1))
    assert (await client.get(f"/storage/v1/object/public/{IMAGE.bucket}/{PATH}")).content == BODY
    assert (await client.get(f"/storage/v1/object/sign/{IMAGE.bucket}/{PATH}?token={token}")).status_code == 404


async def test_what_was_uploaded_to_be_processed_is_not_shown(
    services: MemoryServices, client: httpx.AsyncClient
) -> None:
    path = PATH.replace("png", "gif")
    await services.stores[PROCESSED.bucket].put(path, b"GIF89a", media_type="image/gif")
    url, _ = await private_address(scope(), services, entry_at(path))
    assert (await client.get(url)).status_code == 404


async def test_no_address_is_made_from_a_host_that_is_not_ours(services: MemoryServices) -> None:
    with pytest.raises(InvalidHost):
        await private_address(scope("elsewhere.test"), services, entry_at(PATH))
