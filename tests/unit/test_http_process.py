"""`POST /api/process/{operation}`: a file that is brought, in which form, and what is answered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import UPSCALE
from tests.support.processing_http import (
    CUT,
    FACE,
    HASH,
    PICTURE,
    PNG,
    UP,
    WANT_PICTURE,
    client,
    client_of,
    is_problem,
    send,
    send_form,
    services,
)

__all__ = ["client", "services"]

if TYPE_CHECKING:
    import httpx


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


async def test_a_parameter_said_in_the_form_and_in_the_query_is_refused(client: httpx.AsyncClient) -> None:
    assert is_problem(await send_form(client, {"scale": "2"}, path=f"{UP}?scale=3"), 400, "invalid_parameter")


async def test_another_media_type_is_refused_with_what_to_send(client: httpx.AsyncClient) -> None:
    for sent in ({"content-type": "application/x-www-form-urlencoded"}, {"content-type": "text/plain"}, {}):
        answer = await client.post(UP, content=PICTURE, headers=sent)
        assert is_problem(answer, 415, "unsupported_media_type")
        assert "multipart/form-data" in answer.json()["detail"]
    packed = await send(client, content_encoding="gzip")
    assert is_problem(packed, 415, "unsupported_media_type")


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
