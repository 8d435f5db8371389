"""Processing over a Supabase project: a real PostgREST and Postgres, stand-ins for Storage and fal."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from copperplate.access.api_keys import make_key
from copperplate.api_keys import Scope
from copperplate.ports.access import NewApiKey
from copperplate.recipes.kinds import PROCESSED
from tests.e2e.served import serving
from tests.support.postgres_fixtures import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.served import Served
    from tests.standin.server import Standin
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase


def picture() -> bytes:
    body = io.BytesIO()
    Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 40).convert("RGB").save(body, "JPEG")
    return body.getvalue()


async def key_of(owner_url: str) -> str:
    """An API key of a front end's."""
    made = make_key()
    scopes = frozenset({Scope.GENERATE})
    async with opened(owner_url) as ledger:
        await ledger.create_api_key(
            NewApiKey(prefix=made.prefix, digest=made.digest, name="a front end", tier="standard", scopes=scopes)
        )
    return made.text


@pytest.fixture
def server(project: Supabase, standin: Standin, tmp_path: Path) -> Iterator[Served]:
    variables = {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        "COPPERPLATE_FAL_REST_URL": standin.url,
    }
    with serving(tmp_path / "server", **variables) as served:
        yield served


def test_a_large_file_goes_past_the_server_and_a_chain_is_never_sent_again(
    server: Served, standin: Standin, storage_state_of_project: StorageState, owner_url: str
) -> None:
    body, key = picture(), asyncio.run(key_of(owner_url))
    with httpx.Client(base_url=server.url, headers={"X-API-Key": key}, timeout=60) as client:
        offered = client.post(
            "/api/process/uploads", json={"content_type": "image/jpeg", "size_bytes": len(body)}
        ).json()
        put = httpx.request(offered["method"], offered["url"], content=body, headers=offered["headers"])
        assert put.is_success, put.text
        first = client.post("/api/process/upscale", json={"upload": offered["upload"]}).json()
        assert (first["cached"], first["image_hash"]) == (False, hashlib.sha256(body).hexdigest())
        # It came as an upload, so fal is sent a clean copy; what is made of its result is loaded by its address.
        assert len(standin.scenario_log.uploads) == 1
        second = client.post("/api/process/face-detail", json={"source": first["key"]}).json()
        third = client.post("/api/process/remove-background", json={"source": second["key"]}).json()
        assert len(standin.scenario_log.uploads) == 1
        assert [step["key"] for step in third["lineage"]] == [first["key"], second["key"]]
    assert "/object/sign/" in third["url"]
    shown = httpx.get(third["url"])
    with Image.open(io.BytesIO(shown.content)) as image:
        assert (image.size, image.mode) == ((192, 128), "RGBA")
    nothing = httpx.get(third["url"].partition("?")[0].replace("/sign/", "/public/"))
    assert nothing.status_code == 400
    assert set(storage_state_of_project.buckets[PROCESSED.bucket].objects) >= {offered["upload"]}
    assert server.log.count("token=") == 0


def test_a_result_that_storage_lost_is_made_anew_once_for_whoever_has_the_bytes(
    server: Served, standin: Standin, storage_state_of_project: StorageState, owner_url: str
) -> None:
    body, key = picture(), asyncio.run(key_of(owner_url))
    digest = hashlib.sha256(body).hexdigest()
    with httpx.Client(base_url=server.url, headers={"X-API-Key": key}, timeout=60) as client:
        sent: dict[str, Any] = {"content": body, "headers": {"content-type": "image/jpeg"}}
        first = client.post("/api/process/upscale", **sent).json()
        assert client.get(f"/api/process/upscale/{digest}").json()["key"] == first["key"]
        storage_state_of_project.buckets[PROCESSED.bucket].objects.clear()
        assert client.get(f"/api/process/upscale/{digest}").status_code == 404
        again = client.post("/api/process/upscale", **sent).json()
        assert (again["cached"], again["key"]) == (False, first["key"])
        assert client.post("/api/process/upscale", **sent).json()["cached"] is True
    assert len(standin.scenario_log.drawings) == 2
