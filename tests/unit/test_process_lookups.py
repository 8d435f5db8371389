"""`GET /api/process…`: whether a result is stored is told to everybody, where it is to those who had the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from copperplate.model import Outcome
from tests.support.api_keys import keep_key
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import CUT_OUT, OTHER_UPSCALE, UPSCALE
from tests.support.processing_http import (
    ALICE,
    BOB,
    CUT,
    HASH,
    PICTURE,
    SECRET,
    UP,
    client_of,
    is_problem,
    of,
    send,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

KNOWN = f"/api/process/{HASH}"
RESULT = f"{UP}/{HASH}"
STRANGERS: tuple[dict[str, str], ...] = ({}, of(BOB), of(ALICE, is_anonymous=True))


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_PROCESS_CREDITS": "face-detail=3"})
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


async def hits(services: MemoryServices) -> int:
    """How many requests for processed pictures were hits."""
    await services.request_meter.flush()
    return sum(use.count for use in services.ledger._uses if (use.kind, use.outcome) == ("processed", Outcome.HIT))


async def test_existence_is_told_to_everybody_and_addresses_to_owners(client: httpx.AsyncClient) -> None:
    await send(client, UP, **of(ALICE))
    for headers in STRANGERS:
        told = (await client.get(KNOWN, headers=headers)).json()
        assert told.pop("timestamp")
        assert told == {
            "success": True,
            "image_hash": HASH,
            "bgRemoved": False,
            "upscaled": True,
            "faceDetailed": False,
            "urls": None,
        }
    await send(client, CUT)  # of whoever: it is the same picture
    owner = (await client.get(KNOWN.upper().replace("/API/PROCESS", "/api/process"), headers=of(ALICE))).json()
    assert (owner["bgRemoved"], owner["upscaled"], owner["urls"]["faceDetailed"]) == (True, True, None)
    assert (await client.get(owner["urls"]["upscaled"])).content == b"picture 1"
    assert (await client.get(owner["urls"]["bgRemoved"])).content == b"picture 2"


async def test_who_sends_the_bytes_is_an_owner_from_then_on(client: httpx.AsyncClient) -> None:
    await send(client, UP, **of(ALICE))
    assert (await client.get(KNOWN, headers=of(BOB))).json()["urls"] is None
    await send(client, UP, **of(BOB))
    assert (await client.get(KNOWN, headers=of(BOB))).json()["urls"] is not None


async def test_an_api_key_is_an_owner_too(client: httpx.AsyncClient, services: MemoryServices) -> None:
    mine, other = [{"x-api-key": (await keep_key(services.ledger)).text} for _ in range(2)]
    await send(client, UP, x_api_key=mine["x-api-key"])
    assert (await client.get(RESULT, headers=mine)).json()["url"] is not None
    assert (await client.get(RESULT, headers=other)).json()["url"] is None


async def test_a_known_file_of_ones_own_is_one_request_without_a_body(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    made = (await send(client, f"{UP}?scale=3", **of(ALICE))).json()
    told = (await client.get(f"{RESULT}?scale=3.0", headers=of(ALICE))).json()
    same = ("key", "image_hash", "operation", "model", "parameters", "width", "height", "format", "size_bytes")
    assert {name: told[name] for name in same} == {name: made[name] for name in same}
    assert (await client.get(told["url"])).content == b"picture 1"
    picture = await client.get(f"{RESULT}?scale=3", headers={**of(ALICE), "accept": "image/*"})
    assert (picture.content, picture.headers["x-cache"]) == (b"picture 1", "HIT")
    assert await hits(services) == 2
    assert services.processor.submits == 1


async def test_a_look_that_hands_out_no_result_that_was_asked_for_is_no_hit(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await send(client, UP, **of(ALICE))
    await send(client, CUT, **of(ALICE))
    assert (await client.get(KNOWN, headers=of(ALICE))).json()["urls"]["upscaled"]
    for path in (KNOWN, RESULT):
        assert (await client.head(path, headers=of(ALICE))).status_code == 200
    assert await hits(services) == 0
    for _ in range(2):
        assert (await client.get(RESULT, headers=of(ALICE))).json()["url"]
    assert await hits(services) == 2


async def test_one_result_is_told_to_strangers_without_its_address(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    key = (await send(client, UP, **of(ALICE))).json()["key"]
    for headers in STRANGERS:
        for accept in ("application/json", "image/*"):
            answer = await client.get(RESULT, headers={**headers, "accept": accept})
            assert answer.json() == {
                "success": True,
                "exists": True,
                "key": key,
                "image_hash": HASH,
                "operation": "upscale",
                "model": UPSCALE.name,
                "parameters": {"scale": "2"},
                **dict.fromkeys(("url", "url_expires_at", "width", "height", "format", "size_bytes")),
                **dict.fromkeys(("parent", "crop", "lineage")),
            }
    assert await hits(services) == 0


@pytest.mark.parametrize(
    "path",
    [
        KNOWN,
        RESULT,
        f"{CUT}/{HASH}",
        f"{UP}/{'0' * 64}",
        f"{UP}/{HASH}?scale=3",
        f"{UP}/{HASH}?model={OTHER_UPSCALE.name}",
    ],
)
async def test_what_is_not_stored_is_404_for_everybody(client: httpx.AsyncClient, path: str) -> None:
    if path not in (KNOWN, RESULT):
        await send(client, UP, **of(ALICE))
    for headers in (of(ALICE), *STRANGERS):
        assert is_problem(await client.get(path, headers=headers), 404, "not_found")
        head = await client.head(path, headers=headers)
        assert (head.status_code, head.content) == (404, b"")


async def test_a_head_tells_the_same_without_a_body(client: httpx.AsyncClient) -> None:
    await send(client, UP, **of(ALICE))
    for path in (KNOWN, RESULT, "/api/process"):
        for headers in (of(ALICE), {}):
            head = await client.head(path, headers=headers)
            assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/process/abc", 400, "invalid_request"),
        (f"/api/process/{HASH}0", 400, "invalid_request"),
        (f"{UP}/abc", 400, "invalid_request"),
        (f"/api/process/blur/{HASH}", 404, "not_found"),
        (f"{RESULT}?scale=9", 400, "invalid_parameter"),
        (f"{RESULT}?edge=hard", 400, "invalid_parameter"),
        (f"{RESULT}?model=none", 400, "invalid_model"),
        (f"{RESULT}?scale=2&scale=2", 400, "invalid_query"),
        (f"{RESULT}?scle=3", 400, "unknown_parameter"),
        (f"{RESULT}?parent={'0' * 64}", 400, "unknown_parameter"),
    ],
)
async def test_what_cannot_be_looked_up_is_refused(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    assert is_problem(await client.get(path), status, code)


async def test_an_owners_look_finds_that_an_object_is_gone(client: httpx.AsyncClient, services: MemoryServices) -> None:
    await send(client, UP, **of(ALICE))
    await send(client, CUT, **of(ALICE))
    path = next(row.entry.path for row in services.ledger._entries.values() if row.entry.format == "png")
    del services.processed_store._objects[path]
    answers = [(await client.get(f"{each}/{HASH}", headers=of(ALICE))).status_code for each in (UP, CUT)]
    assert sorted(answers) == [200, 404]
    left = (await client.get(KNOWN, headers=of(ALICE))).json()
    assert [left["upscaled"], left["bgRemoved"]] == [status == 200 for status in answers]
    services.processed_store._objects.clear()
    assert is_problem(await client.get(KNOWN, headers=of(ALICE)), 404, "not_found")


async def test_a_stranger_who_has_a_key_sees_nothing_by_any_other_route(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    key = (await send(client, UP, **of(ALICE))).json()["key"]
    path = next(iter(services.processed_store._objects))
    for address in (
        f"/api/images/{key}",
        f"/api/images/{key}/info.json",
        f"/api/images/{path}",
        f"/api/images/processed-images/{path}",
        f"/api/generations/{key}",
        f"/api/generations/{key}/events",
        f"/storage/v1/object/public/processed-images/{path}",
        f"/storage/v1/object/sign/processed-images/{path}",
    ):
        answer = await client.get(address, headers=of(BOB))
        assert answer.status_code in (401, 403, 404), address
        assert b"picture 1" not in answer.content


async def test_front_ends_can_build_their_forms(client: httpx.AsyncClient) -> None:
    told = (await client.get("/api/process")).json()
    cut_out, upscale, faces = told["operations"]
    assert (cut_out["operation"], cut_out["result"], cut_out["credits"]) == ("remove-background", "bgRemoved", 0)
    assert faces["credits"] == 3
    assert [model["name"] for model in upscale["models"]] == [UPSCALE.name, OTHER_UPSCALE.name]
    assert upscale["models"][0] == {
        "name": UPSCALE.name,
        "most_usd": 0.003,
        "parameters": [
            parameter("scale", type="number", default="2", least=1.0, most=4.0, decimals=1),
        ],
    }
    assert cut_out["models"][0]["name"] == CUT_OUT.name
    assert cut_out["models"][0]["parameters"] == [
        parameter("edge", type="choice", default="soft", choices=["soft", "hard"])
    ]
    assert told["limits"]["max_file_bytes"] == 33_554_432
    assert "image/avif" in told["limits"]["media_types"]
    assert told["limits"]["urls"] is False


def parameter(name: str, **told: Any) -> dict[str, Any]:
    """A parameter as it is told: what does not apply is null."""
    return {"name": name, **dict.fromkeys(("least", "most", "decimals", "choices")), **told}


async def test_where_nobody_processes_pictures_that_is_said(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await send(client, UP, **of(ALICE))
    services.processing.models = ()
    assert (await client.get("/api/process")).json()["operations"] == []
    assert is_problem(await send(client, UP), 503, "misconfigured")
    assert is_problem(await client.get(RESULT), 503, "misconfigured")
    assert (await client.get(KNOWN)).json()["upscaled"] is True


async def test_nothing_is_written_by_a_stranger_who_looks(client: httpx.AsyncClient, services: MemoryServices) -> None:
    assert (await client.get(KNOWN, headers=of(BOB))).status_code == 404
    assert services.ledger._sources == {}
    assert PICTURE not in services.cleaner.cleaned
