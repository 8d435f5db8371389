"""`POST /api/process/{operation}`: a picture that is named by a key or an address, and parents that are declared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.model import Size
from copperplate.processing.fetches import Fetches
from copperplate.source_pictures import Parent, SourcePicture
from tests.support.processing_http import (
    ALICE,
    BOB,
    CUT,
    HASH,
    PICTURE,
    UP,
    client,
    is_problem,
    of,
    send,
    services,
)

__all__ = ["client", "services"]

if TYPE_CHECKING:
    import httpx

    from tests.support.memory_services import MemoryServices


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
        # A rendition is other bytes: who sends one is told where the original is.
        assert ("/api/images/" in refused.json()["detail"]) is ("crop" not in query)
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


def counted(services: MemoryServices, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """The calls of these methods of the ledger from now on."""
    calls: list[str] = []

    def count(name: str) -> Any:
        method = getattr(services.ledger, name)

        async def called(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return await method(*args, **kwargs)

        return called

    for name in names:
        monkeypatch.setattr(services.ledger, name, count(name))
    return calls


async def test_however_long_a_lineage_is_the_ledger_is_asked_for_it_once(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (await send(client, CUT, **of(ALICE))).json()
    for scale in (2, 3, 4):
        sent = {"source": told["key"], "scale": scale}
        told = (await client.post(UP, json=sent, headers=of(ALICE))).json()
    assert len(told["lineage"]) == 3
    asked = counted(services, monkeypatch, "lineage", "may_see_processed")
    again = (await client.post(UP, json=sent, headers=of(ALICE))).json()
    assert again["cached"]
    assert [node["key"] for node in again["lineage"]] == [node["key"] for node in told["lineage"]]
    # Whether the source that is named may be seen, and then all that it was made from.
    assert sorted(asked) == ["lineage", "may_see_processed"]


async def test_a_picture_of_which_another_parent_is_known_is_named_without_a_write(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kept pictures have the same bytes: the first of them stands."""
    first = (await send(client, CUT, **of(ALICE))).json()
    stored = (await client.get(first["url"])).content
    digest, size = hashlib.sha256(stored).hexdigest(), Size(width=64, height=64)
    other = Parent(generation_key="f" * 64)
    picture = SourcePicture(digest=digest, format="png", size=size, size_bytes=len(stored), parent=other)
    await services.ledger.note_source(picture, owner=f"user:{ALICE}")
    sent = {"source": first["key"], "scale": 2}
    await client.post(UP, json=sent, headers=of(ALICE))
    noted = counted(services, monkeypatch, "note_source")
    assert (await client.post(UP, json=sent, headers=of(ALICE))).json()["cached"]
    assert noted == []


async def test_what_bytes_that_others_had_are_cropped_from_is_nobodys_to_say(
    client: httpx.AsyncClient, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = (await send(client, UP, PICTURE + b" of bob", **of(BOB))).json()["key"]
    await send(client, CUT, **of(ALICE))
    await send(client, CUT, **of(BOB))
    noted = counted(services, monkeypatch, "note_source")
    told = (await send(client, f"{CUT}?parent={parent}&crop=4,4,64,64", **of(BOB))).json()
    assert (told["cached"], told["parent"], noted) == (True, None, [])
