"""Processing: what is refused, in which words, and that a hit is judged as a miss is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from copperplate.imaging.foreign import TAKEN
from copperplate.imaging.uploads import read_upload
from copperplate.source_errors import UnsupportedPicture
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import ScriptedProcessor
from tests.support.processing_http import (
    ALICE,
    BOB,
    CUT,
    FACE,
    HASH,
    PICTURE,
    SECRET,
    UP,
    client_of,
    is_problem,
    of,
    send,
    send_form,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

KNOWN = f"/api/process/{HASH}"
# Nobody but Alice and Bob may have anything made.
STRANGER: dict[str, str] = {}


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_ACCESS": "keys"})
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


async def public_picture(client: httpx.AsyncClient) -> str:
    """The key of a picture of 256x256 px that everybody may see."""
    made = await client.get("/256x256.png?text=a+lighthouse", headers=of(ALICE))
    assert made.status_code == 200
    return str(made.headers["x-copperplate-generation-key"])


async def test_a_mistyped_parameter_of_a_look_is_refused_as_that_of_a_request_is(client: httpx.AsyncClient) -> None:
    await send(client, UP, **of(ALICE))
    for answer in (await client.get(f"{UP}/{HASH}?scle=3"), await send(client, f"{UP}?scle=3", **of(ALICE))):
        assert is_problem(answer, 400, "unknown_parameter")
        assert "scale" in answer.json()["detail"]


@pytest.mark.parametrize("headers", [of(ALICE), of(BOB), STRANGER])
@pytest.mark.parametrize("declared", ["crop=0,0,32,32", "crop=200,0,64,64", ""])
async def test_a_parent_that_cannot_be_one_is_refused_with_a_hit_too(
    client: httpx.AsyncClient, services: MemoryServices, headers: dict[str, str], declared: str
) -> None:
    path = f"{UP}?parent={await public_picture(client)}&{declared}"
    if headers:
        assert is_problem(await send(client, path, **headers), 400, "invalid_parameter")
    await send(client, UP, **of(ALICE))
    assert is_problem(await send(client, path, **headers), 400, "invalid_parameter")
    assert services.processor.submits == 1


async def test_a_wrong_parent_is_refused_where_another_one_stands(client: httpx.AsyncClient) -> None:
    path = f"{UP}?parent={await public_picture(client)}&crop="
    assert (await send(client, f"{path}0,0,64,64", **of(ALICE))).json()["crop"]["left"] == 0
    assert is_problem(await send(client, f"{path}0,0,32,32", **of(ALICE)), 400, "invalid_parameter")
    assert (await send(client, f"{path}8,8,64,64", **of(ALICE))).json()["crop"]["left"] == 0  # the first one stands


async def test_what_a_stranger_declares_with_a_hit_is_not_kept(client: httpx.AsyncClient) -> None:
    await send(client, UP, **of(ALICE))
    right = f"{UP}?parent={await public_picture(client)}&crop=0,0,64,64"
    assert (await send(client, right)).status_code == 200
    assert (await send(client, UP, **of(ALICE))).json()["parent"] is None
    assert (await send(client, right, **of(ALICE))).json()["parent"] is not None


async def test_a_look_of_an_owner_tells_what_the_picture_was_made_from(client: httpx.AsyncClient) -> None:
    parent = await public_picture(client)
    made = (await send(client, f"{UP}?parent={parent}&crop=4,4,64,64", **of(ALICE))).json()
    told = (await client.get(f"{UP}/{HASH}", headers=of(ALICE))).json()
    for answer in (made, told):
        assert (answer["parent"], answer["crop"]) == (parent, {"left": 4, "top": 4, "width": 64, "height": 64})
        assert [node["key"] for node in answer["lineage"]] == [parent]
    for headers in (of(BOB), STRANGER):
        told = (await client.get(f"{UP}/{HASH}", headers=headers)).json()
        assert (told["parent"], told["crop"], told["lineage"]) == (None, None, None)


@pytest.mark.parametrize("headers", [of(ALICE), of(BOB), STRANGER])
async def test_every_look_at_a_picture_that_was_taken_down_says_so(
    client: httpx.AsyncClient, services: MemoryServices, headers: dict[str, str]
) -> None:
    await send(client, UP, **of(ALICE))
    await services.ledger.take_down(HASH, reason="asked for")
    for path in (KNOWN, f"{UP}/{HASH}", f"{FACE}/{HASH}"):  # the last one was never made
        assert is_problem(await client.get(path, headers=headers), 410, "taken_down")
    assert is_problem(await client.get(f"/api/process/{'0' * 64}", headers=headers), 404, "not_found")


async def test_bytes_that_were_taken_down_before_anybody_sent_them_are_gone_too(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    await services.ledger.take_down(HASH, reason="asked for")
    assert is_problem(await client.get(KNOWN), 410, "taken_down")
    assert is_problem(await client.get(f"{CUT}/{HASH}"), 410, "taken_down")


async def test_a_source_that_was_taken_down_is_gone_and_not_unknown(
    client: httpx.AsyncClient, services: MemoryServices
) -> None:
    key = await public_picture(client)
    await services.ledger.take_down(key, reason="asked for")
    for headers in (of(ALICE), STRANGER):
        gone = await client.post(UP, json={"source": key}, headers=headers)
        assert is_problem(gone, 410, "taken_down")
    unknown = await client.post(UP, json={"source": "0" * 64}, headers=of(ALICE))
    assert is_problem(unknown, 404, "source_unknown")


@pytest.mark.parametrize("path", [UP, CUT, FACE, "/api/process/uploads"])
async def test_where_pictures_are_sent_nothing_is_to_be_got(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert (await client.head(path)).status_code == 405


async def test_a_blank_field_of_a_form_says_nothing(client: httpx.AsyncClient) -> None:
    told = (await send_form(client, {"scale": "", "model": " ", "parent": "", "crop": ""}, path=UP)).json()
    assert told["code"] == "access_denied"  # and nothing of the fields
    made = await client.post(UP, files={"file": ("a", PICTURE)}, data={"scale": "", "parent": ""}, headers=of(ALICE))
    assert made.json()["parameters"] == {"scale": "2"}


async def test_a_field_that_is_there_twice_is_named_and_no_query_is_blamed(client: httpx.AsyncClient) -> None:
    twice: dict[str, Any] = {"files": [("scale", (None, "2")), ("scale", (None, "2")), ("file", ("a", PICTURE))]}
    problem = (await client.post(UP, **twice, headers=of(ALICE))).json()
    assert (problem["code"], problem["title"]) == ("invalid_parameter", "A parameter of the operation is not valid")
    assert problem["detail"].startswith("scale is said twice.")


async def test_json_with_an_unknown_member_is_told_by_what_a_picture_can_be_named(client: httpx.AsyncClient) -> None:
    problem = (await client.post(UP, json={"source": "0" * 64, "y": 1}, headers=of(ALICE))).json()
    assert problem["code"] == "unknown_parameter"
    assert problem["detail"].endswith("Known: edge, model, scale, source, upload, url.")


async def test_a_body_of_another_type_is_not_told_that_only_json_is_taken(client: httpx.AsyncClient) -> None:
    problem = (await client.post(UP, content=PICTURE, headers={"content-type": "text/plain"})).json()
    assert (problem["code"], "JSON" in problem["title"]) == ("unsupported_media_type", False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\0\0\2\0" + bytes(14), "the file is a TGA, "),
        (b"\0\0\n\0" + bytes(14), "the file is a TGA, "),
        (b"\0\0\2\0\1\0" + bytes(14), "the file is a cursor (CUR), "),
        (b"hello world", f"the file begins like no picture that is known here: send {TAKEN}"),
    ],
)
def test_a_file_that_is_not_taken_is_called_by_its_name(body: bytes, words: str) -> None:
    with pytest.raises(UnsupportedPicture) as refused:
        read_upload(body)
    assert str(refused.value).startswith(words)


async def test_what_costs_nothing_at_the_provider_costs_no_credits() -> None:
    for is_billable in (True, False):
        services = memory_services(
            processor=ScriptedProcessor(is_billable=is_billable),
            environ={"SUPABASE_JWT_SECRET": SECRET, "COPPERPLATE_PROCESS_CREDITS": "upscale=2"},
        )
        async with client_of(services) as client:
            [price] = [
                each["credits"]
                for each in (await client.get("/api/process")).json()["operations"]
                if each["operation"] == "upscale"
            ]
            assert price == (2 if is_billable else 0)
            answer = await send(client, UP, **of(ALICE))  # who has none
            assert answer.status_code == (402 if is_billable else 200)
        await services.request_meter.close()
