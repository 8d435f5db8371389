"""`POST /api/process/{operation}`: what is brought, in which form, what is answered, and what it costs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.api_keys import Scope
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.processing.fetches import Fetches
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import UPSCALE, GatedProcessor
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of at least thirty-two characters"
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
PICTURE = b"\x89PNG\r\n\x1a\n a picture"
HASH = hashlib.sha256(PICTURE).hexdigest()
UP, CUT, FACE = "/api/process/upscale", "/api/process/remove-background", "/api/process/face-detail"
PNG = {"content-type": "image/png"}
WANT_PICTURE = {"accept": "image/*"}
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


def client_of(services: MemoryServices) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(services=services))
    return httpx.AsyncClient(transport=transport, base_url="http://pictures.test")


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


class Gated(NamedTuple):
    """An application whose provider makes nothing until its gate is opened."""

    client: httpx.AsyncClient
    processor: GatedProcessor
    services: MemoryServices


@pytest.fixture
async def gated() -> AsyncIterator[Gated]:
    processor = GatedProcessor()
    services = memory_services(processor=processor, environ={"SUPABASE_JWT_SECRET": SECRET})
    async with client_of(services) as client:
        yield Gated(client, processor, services)
    processor.gate.set()
    await services.shut_down(within_seconds=5)
    await services.request_meter.close()


async def send(client: httpx.AsyncClient, path: str = UP, body: bytes = PICTURE, /, **headers: str) -> httpx.Response:
    """The bytes alone."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, content=body, headers={**PNG, **sent})


async def send_form(
    client: httpx.AsyncClient, fields: dict[str, str], *, name: str = "photo.png", path: str = UP
) -> httpx.Response:
    return await client.post(path, files={"file": (name, PICTURE, "image/png")}, data=fields)


async def test_a_file_is_processed_and_the_answer_says_where_the_result_is(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    answer = await send_form(client, {"scale": "3"})
    told = answer.json()
    assert answer.status_code == 200
    assert (told["success"], told["status"], told["cached"], told["kind"]) == (True, "completed", False, "processed")
    assert (told["operation"], told["model"], told["parameters"]) == ("upscale", UPSCALE.name, {"scale": "3"})
    assert (told["image_hash"], told["width"], told["height"], told["format"]) == (HASH, 192, 192, "png")
    assert (told["parent"], told["crop"], told["credits_left"], told["cost_usd"]) == (None, None, None, 0.003)
    assert told["url_expires_at"].endswith("Z")
    picture = await client.get(told["url"])
    assert picture.content == b"picture 1"
    assert len(picture.content) == told["size_bytes"]
    assert services.processor.submits == 1


@pytest.mark.parametrize(
    "again",
    [
        {"files": {"file": ("holiday.jpg", PICTURE, "image/jpeg")}},
        {"files": {"file": ("../../etc/passwd", PICTURE, "text/plain")}, "data": {"scale": "2.0", "note": "x"}},
        {"files": [("model", (None, UPSCALE.name)), ("file", ("a", PICTURE)), ("scale", (None, "2"))]},
        {"files": [("scale", (None, "2")), ("file", ("b", PICTURE)), ("model", (None, UPSCALE.name))]},
        {"content": PICTURE, "headers": PNG, "params": {"scale": "02"}},
        {"content": PICTURE, "headers": {"content-type": "application/octet-stream"}},
        {
            "content": PICTURE,
            "headers": {"content-type": "image/x-odd; charset=binary"},
            "params": {"model": UPSCALE.name},
        },
    ],
)
async def test_the_same_bytes_are_a_hit_by_any_name_form_and_order(
    client: httpx.AsyncClient, services: MemoryServices, again: dict[str, Any]
) -> None:
    first = (await send_form(client, {})).json()
    second = (await client.post(UP, **again)).json()
    assert (second["cached"], second["key"], second["cost_usd"]) == (True, first["key"], 0)
    assert (services.processor.submits, len(services.cleaner.cleaned)) == (1, 1)


async def test_other_parameters_models_and_pixels_are_other_results(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await send(client)
    for path, body in ((f"{UP}?scale=3", PICTURE), (f"{UP}?model=test/upscale-2", PICTURE), (UP, PICTURE + b"!")):
        assert not (await send(client, path, body)).json()["cached"]
    assert services.processor.submits == 4


async def test_unknown_fields_of_a_form_are_ignored_and_named(client: httpx.AsyncClient) -> None:
    answer = await send_form(client, {"csrf": "1", "scale": "2", "Größe": "2"})
    assert answer.headers["x-copperplate-ignored"] == "csrf, Gr%C3%B6%C3%9Fe"
    known = await client.post(f"{UP}?scale=2", content=PICTURE, headers=PNG)
    assert "x-copperplate-ignored" not in known.headers


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{UP}?scale=9", "invalid_parameter"),
        (f"{UP}?scale=", "invalid_parameter"),
        (f"{UP}?edge=hard", "invalid_parameter"),
        (f"{CUT}?edge=round", "invalid_parameter"),
        (f"{UP}?crop=0,0,8,8", "invalid_parameter"),
        (f"{UP}?parent={'0' * 64}&crop=0,0,0,8", "invalid_parameter"),
        (f"{UP}?parent={'0' * 64}&crop=8,8", "invalid_parameter"),
        (f"{UP}?scal=2", "unknown_parameter"),
        (f"{UP}?scale=2&scale=3", "invalid_query"),
        (f"{UP}?model=test/cut-out", "invalid_model"),
        (f"{UP}?scale=%FF", "invalid_query"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_decoded(
    client: httpx.AsyncClient, services: MemoryServices, path: str, code: str
) -> None:
    answer = await send(client, path)
    assert is_problem(answer, 400, code), answer.text
    assert (services.processor.submits, services.cleaner.cleaned) == (0, [])


async def test_a_result_that_would_be_too_large_is_refused(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.cleaner.side_px = 2048
    assert is_problem(await send(client, f"{UP}?scale=4"), 413, "picture_too_large")


async def test_no_picture_and_no_operation_are_refused(client: httpx.AsyncClient) -> None:
    assert is_problem(await send(client, UP, b"rubbish"), 400, "invalid_picture")
    assert is_problem(await send(client, "/api/process/blur"), 404, "not_found")


async def test_the_answer_is_the_picture_where_accept_prefers_one(client: httpx.AsyncClient) -> None:
    made, hit = await send(client, **WANT_PICTURE), await send(client, accept="image/webp")
    assert (made.content, made.headers["content-type"]) == (b"picture 1", "image/png")
    assert (made.headers["x-cache"], hit.headers["x-cache"]) == ("MISS", "HIT")
    told = (await send(client)).json()
    assert hit.headers["x-copperplate-generation-key"] == told["key"]
    assert hit.headers["x-copperplate-image-hash"] == HASH
    assert hit.headers["cache-control"] == "private, no-store"
    assert hit.headers["x-content-type-options"] == "nosniff"
    assert hit.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert hit.headers["access-control-allow-origin"] == "*"
    assert "X-Copperplate-Image-Hash" in hit.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("accept", "is_picture"),
    [
        ("*/*", False),
        ("application/json", False),
        ("application/json, image/*", False),
        ("image/*;q=0.5, application/json", False),
        ("image/png;q=0", False),
        ("text/html", False),
        ("image/png", True),
        ("image/avif,image/webp,image/*,*/*;q=0.8", True),
        ("image/*, application/json;q=0.9", True),
    ],
)
async def test_json_is_answered_unless_a_picture_is_preferred(
    client: httpx.AsyncClient, accept: str, is_picture: bool
) -> None:
    answer = await send(client, accept=accept)
    assert answer.headers["content-type"] == ("image/png" if is_picture else "application/json")


async def test_a_kept_picture_is_processed_by_its_key_and_is_the_parent(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    first = (await send(client, CUT, **of(ALICE))).json()
    second = (await client.post(UP, json={"source": first["key"], "scale": 2}, headers=of(ALICE))).json()
    assert (second["parent"], second["parameters"], second["cached"]) == (first["key"], {"scale": "2"}, False)
    stored = (await client.get(first["url"])).content
    assert second["image_hash"] == hashlib.sha256(stored).hexdigest()
    again = (await send(client, UP, stored)).json()  # the same bytes, sent
    assert (again["cached"], again["key"]) == (True, second["key"])
    assert services.cleaner.cleaned == [PICTURE]


async def test_a_key_is_no_password(client: httpx.AsyncClient) -> None:
    key = (await send(client, CUT, **of(ALICE))).json()["key"]
    for headers in ({}, of(BOB), of(ALICE, is_anonymous=True)):
        answer = await client.post(UP, json={"source": key}, headers=headers)
        assert is_problem(answer, 404, "source_unknown")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_body"),
        ({"source": "0" * 64, "url": "https://a.test/b.png"}, "invalid_body"),
        ({"source": 7}, "invalid_body"),
        ({"source": "0" * 64, "scale": [2]}, "invalid_body"),
        ({"source": "0" * 64, "scale": True}, "invalid_body"),
        ({"source": "0" * 64, "scal": 2}, "unknown_parameter"),
        ({"source": "0" * 64, "crop": "0,0,8,8"}, "unknown_parameter"),
        ({"source": "0" * 64, "scale": 9}, "invalid_parameter"),
        ({"url": "https://a.test/b.png"}, "source_not_fetched"),
    ],
)
async def test_json_that_names_no_one_picture_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    assert is_problem(await client.post(UP, json=body, headers=of(ALICE)), 400, code)


async def test_json_names_what_is_not_known_here(client: httpx.AsyncClient) -> None:
    assert is_problem(await client.post(UP, json={"source": "0" * 64}), 404, "source_unknown")
    assert is_problem(await client.post(UP, json={"upload": "2026/11/x.png"}), 404, "source_unknown")


async def test_a_parameter_said_in_the_form_and_in_the_query_is_refused(client: httpx.AsyncClient) -> None:
    assert is_problem(await send_form(client, {"scale": "2"}, path=f"{UP}?scale=3"), 400, "invalid_parameter")


async def test_a_crop_names_its_parent_and_the_rectangle(client: httpx.AsyncClient) -> None:
    parent = (await send(client, UP, **of(ALICE))).json()["key"]
    path = f"{UP}?parent={parent}&crop=4,4,64,64"
    told = (await send(client, path, PICTURE + b" cut", **of(ALICE))).json()
    assert (told["parent"], told["crop"]) == (parent, {"left": 4, "top": 4, "width": 64, "height": 64})
    [ancestor] = told["lineage"]
    assert (ancestor["key"], ancestor["operation"], ancestor["parent"]) == (parent, "upscale", None)
    outside = await send(client, f"{UP}?parent={parent}&crop=100,0,64,64", PICTURE + b" other", **of(ALICE))
    assert is_problem(outside, 400, "invalid_parameter")
    stranger = await send(client, f"{UP}?parent={parent}", PICTURE + b" third")
    assert is_problem(stranger, 404, "source_unknown")


async def test_a_parent_is_declared_within_bounds(client: httpx.AsyncClient) -> None:
    """The rectangle has the file's size, a file without one is the parent itself, and no file is its own ancestor."""
    parent = (await send(client, UP, **of(ALICE))).json()["key"]
    for query, body in (
        (f"parent={parent}&crop=4,4,62,64", PICTURE + b" small"),
        (f"parent={parent}", PICTURE + b" whole"),
        (f"parent={parent}&crop=4,4,64,64", PICTURE),
    ):
        refused = await send(client, f"{CUT}?{query}", body, **of(ALICE))
        assert is_problem(refused, 400, "invalid_parameter")
    rounded = await send(client, f"{CUT}?parent={parent}&crop=4,4,63,65", PICTURE + b" rounded", **of(ALICE))
    assert rounded.json()["parent"] == parent


async def test_nobody_is_told_of_a_parent_that_they_may_not_see(client: httpx.AsyncClient) -> None:
    parent = (await send(client, UP, **of(ALICE))).json()["key"]
    cut = PICTURE + b" cut"
    assert (await send(client, f"{UP}?parent={parent}&crop=4,4,64,64", cut, **of(ALICE))).json()["parent"] == parent
    told = (await send(client, UP, cut, **of(BOB))).json()
    assert (told["cached"], told["parent"], told["crop"], told["lineage"]) == (True, None, None, [])


async def test_a_parent_that_is_declared_with_a_hit_is_noted(client: httpx.AsyncClient) -> None:
    parent = (await send(client, UP, **of(ALICE))).json()["key"]
    cut = PICTURE + b" cut"
    assert (await send(client, UP, cut, **of(ALICE))).json()["parent"] is None
    await send(client, f"{UP}?parent={parent}&crop=4,4,64,64", cut, **of(ALICE))
    assert (await send(client, UP, cut, **of(ALICE))).json()["parent"] == parent


async def test_another_media_type_is_refused_with_what_to_send(client: httpx.AsyncClient) -> None:
    for sent in ({"content-type": "application/x-www-form-urlencoded"}, {"content-type": "text/plain"}, {}):
        answer = await client.post(UP, content=PICTURE, headers=sent)
        assert is_problem(answer, 415, "unsupported_media_type")
        assert "multipart/form-data" in answer.json()["detail"]
    packed = await send(client, content_encoding="gzip")
    assert is_problem(packed, 415, "unsupported_media_type")


async def test_a_caller_who_need_not_wait_is_told_where_the_result_will_be(gated: Gated) -> None:
    answer = await send(gated.client, **EARLY, **of(ALICE))
    told = answer.json()
    assert (answer.status_code, told["status"], told["image_hash"]) == (202, "generating", HASH)
    assert answer.headers["location"] == f"/api/generations/{told['key']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert f"/api/generations/{told['key']}/events?token=" in told["events"]
    gated.processor.gate.set()
    hit = await send(gated.client)
    assert (hit.status_code, gated.processor.submits) == (200, 1)


async def test_a_wait_that_is_over_is_answered_202(gated: Gated) -> None:
    answer = await send(gated.client, prefer="wait=0")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


async def test_people_who_send_the_same_at_once_have_one_result_made(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    answers = await asyncio.gather(*(send(client) for _ in range(20)))
    assert len({answer.json()["key"] for answer in answers}) == 1
    assert services.processor.submits == 1


async def test_two_operations_on_one_file_do_not_wait_for_each_other() -> None:
    processor = GatedProcessor(gated=frozenset({"upscale"}))
    services = memory_services(processor=processor)
    async with client_of(services) as client:
        waiting = asyncio.create_task(send(client, UP))
        await processor.began.wait()
        assert (await send(client, CUT)).status_code == 200
        assert not waiting.done()
        processor.gate.set()
        assert (await waiting).status_code == 200
    await services.request_meter.close()


async def test_a_caller_who_may_have_nothing_made_costs_a_hash_and_a_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    services = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_ACCESS": "keys"})
    read_only = {"x-api-key": (await keep_key(services.ledger, Scope.PURGE)).text}
    async with client_of(services) as client:
        for body in (PICTURE, b"rubbish"):
            assert is_problem(await send(client, UP, body), 401, "access_denied")
            assert is_problem(await send(client, UP, body, **read_only), 403, "missing_scope")
        for named in ({"upload": "2026/11/x.png"}, {"url": "https://a.test/b.png"}):
            assert is_problem(await client.post(UP, json=named), 401, "access_denied")
        assert (services.cleaner.cleaned, services.processor.submits) == ([], 0)
        assert (services.ledger._sources, services.processed_store._objects) == ({}, {})
        await send(client, **of(ALICE))
        hit = await send(client)  # whoever has the bytes has the result
        assert (hit.status_code, hit.json()["cached"]) == (200, True)
        assert is_problem(await send(client, f"{UP}?scale=3"), 401, "access_denied")
        assert len(services.cleaner.cleaned) == 1
    await services.request_meter.close()


async def test_a_failure_is_answered_as_one(client: httpx.AsyncClient, services: MemoryServices) -> None:
    services.processor.failures = [ProviderFailed(FailureClass.INVALID, "no")]
    answer = await send(client)
    assert is_problem(answer, 422, "generation_failed"), answer.text


async def test_a_lost_result_is_made_anew_once(client: httpx.AsyncClient, services: MemoryServices) -> None:
    first = (await send(client)).json()
    services.processed_store._objects.clear()
    second = (await send(client)).json()
    assert (second["key"], second["cached"], services.processor.submits) == (first["key"], False, 2)
    assert (await send(client)).json()["cached"]


async def test_no_line_of_the_log_names_a_file_or_an_address(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.INFO, "copperplate.requests"):
        told = (await send_form(client, {}, name="my-secret-holiday.png")).json()
        await client.post(
            UP, content=b"--x\r\nmy-secret-holiday", headers={"content-type": "multipart/form-data; boundary=x"}
        )
    lines = [line for line in caplog.text.splitlines() if "httpx" not in line and "httpcore" not in line]
    assert any("method=POST status=200 outcome=generated" in line for line in lines)
    assert not [line for line in lines if "secret-holiday" in line or told["url"].rpartition("token=")[2] in line]


async def test_an_answer_above_the_platforms_limit_is_an_address() -> None:
    services = memory_services(environ={"VERCEL": "1", "VERCEL_URL": "pictures.test"})
    async with client_of(services) as client:
        services.processor.bodies = [b"x" * 4_000_001]
        answer = await send(client, **WANT_PICTURE)
        assert answer.status_code == 303
        assert answer.headers["cache-control"] == "private, no-store"
        assert (await client.get(answer.headers["location"])).content == b"x" * 4_000_001
    await services.request_meter.close()


async def test_any_origin_may_send_a_picture(client: httpx.AsyncClient) -> None:
    for path in (UP, CUT, FACE, f"/api/process/{HASH}", f"{UP}/{HASH}", "/api/process"):
        answer = await client.options(path)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
        allowed = answer.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "idempotency-key", "prefer", "x-api-key"} <= set(allowed)


async def test_every_answer_may_be_read_by_any_origin_and_is_kept_by_nobody(client: httpx.AsyncClient) -> None:
    missed = await client.get(f"{UP}/{HASH}")
    made, hit = await send_form(client, {}), await send_form(client, {})
    known = [await client.get(path) for path in (f"{UP}/{HASH}", f"/api/process/{HASH}", "/api/process")]
    for answer in (missed, made, hit, *known):
        told = {name: answer.headers.get(name) for name in ("access-control-allow-origin", "cache-control")}
        assert told == {"access-control-allow-origin": "*", "cache-control": "no-store"}, answer.request


async def test_a_picture_named_by_its_address_is_the_picture_of_its_bytes(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    class Web:
        async def read(self, name: str) -> bytes:
            assert name == "https://a.test/b.png"
            return PICTURE

    named = {"url": "https://a.test/b.png"}
    assert is_problem(await client.post(UP, json=named, headers=of(ALICE)), 400, "source_not_fetched")
    services.processing.sources._fetches = Fetches(Web())
    assert is_problem(await client.post(UP, json=named), 401, "unauthorized")
    assert is_problem(await client.post(UP, json=named, headers=of(BOB, is_anonymous=True)), 403, "address_needs_name")
    made = await client.post(UP, json=named, headers=of(ALICE))
    assert (made.status_code, made.json()["image_hash"], made.json()["cached"]) == (200, HASH, False)
    assert (await send(client)).json()["cached"] is True
