"""`copperplate serve` over a Supabase project: a real PostgREST and Postgres, stand-ins for Storage and fal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
from PIL import Image

from copperplate.recipes.kinds import IMAGE, MEMOJI
from tests.e2e.served import serving
from tests.support.clusters import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.e2e.served import Served
    from tests.standin.server import Standin
    from tests.standin.storage_state import StorageState, Stored
    from tests.standin.supabase import Supabase

    Serve = Callable[..., AbstractContextManager[Served]]

FOX = "/256x256.jpg?text=a%20very%20private%20fox"
# What is lost in the store is noticed by who has no copy.
WITHOUT_TIERS = {"COPPERPLATE_MEMORY_PICTURES": "0", "COPPERPLATE_DISK_CACHE_MB": "0"}


@pytest.fixture
def serve(project: Supabase, standin: Standin, tmp_path: Path) -> Serve:
    """Starts servers that are configured as docs/supabase.md says; each has a folder of its own."""

    def start(name: str, **variables: str) -> AbstractContextManager[Served]:
        configured = {
            "SUPABASE_URL": project.url,
            "SUPABASE_SECRET_KEY": project.secret_key,
            "FAL_KEY": "stand-in",
            "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        }
        return serving(tmp_path / name, **{**configured, **variables})

    return start


def objects_of(storage_state: StorageState) -> dict[str, Stored]:
    return storage_state.buckets[IMAGE.bucket].objects


def stats_of(server: Served) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(server.get("/api/generation/stats").body)["stats"]
    return figures


def test_picture_is_made_once_for_two_servers_that_share_nothing_but_the_project(
    serve: Serve, standin: Standin, project: Supabase, owner_url: str
) -> None:
    with serve("one") as one, serve("other") as other:
        first, second = one.get(FOX), other.get(FOX)
        assert (first.status, first.headers["x-cache"], first.headers["content-type"]) == (200, "MISS", "image/jpeg")
        assert (second.status, second.headers["x-cache"], second.body) == (200, "HIT", first.body)
        assert Image.open(BytesIO(first.body)).size == (256, 256)
        held = other.get(FOX, **{"If-None-Match": first.headers["etag"]})
        assert (held.status, held.body) == (304, b"")
        assert other.get(FOX, method="HEAD").status == 200
        eventually(lambda: stats_of(one)["total_requests"] == 3)
        assert (stats_of(one)["total_api_calls_made"], stats_of(one)["total_api_calls_saved"]) == (1, 2)
        logs = one.log + other.log
    assert len(standin.scenario_log.drawings) == 1
    with psycopg.connect(owner_url) as connection:
        kept = connection.execute(
            "select prompt_hash, prompt, file_size from public.image_cache where format = 'jpg'"
        ).fetchall()
    assert kept == [(first.headers["x-copperplate-key"], "a very private fox", len(first.body))]
    assert "outcome=generated" in logs
    for never in ("private", project.secret_key, "stand-in"):
        assert never not in logs


@pytest.mark.parametrize("key", ["secret_key", "service_role_key"])
def test_crowd_over_two_servers_costs_one_call(serve: Serve, standin: Standin, project: Supabase, key: str) -> None:
    variable = {"secret_key": "SUPABASE_SECRET_KEY", "service_role_key": "SUPABASE_SERVICE_ROLE_KEY"}[key]
    only = {"SUPABASE_SECRET_KEY": "", variable: getattr(project, key)}
    with serve("one", **only) as one, serve("other", **only) as other, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: (one, other)[number % 2].get(FOX), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(standin.scenario_log.drawings) == 1


def test_object_deleted_behind_a_completed_row_is_made_again_once_and_counted(
    serve: Serve, standin: Standin, storage_state_of_project: StorageState
) -> None:
    with serve("one", **WITHOUT_TIERS) as one, serve("other", **WITHOUT_TIERS) as other:
        first = one.get(FOX)
        assert other.get(FOX).headers["x-cache"] == "HIT"
        assert len(standin.scenario_log.drawings) == 1

        objects_of(storage_state_of_project).clear()
        again = other.get(FOX)
        assert (again.status, again.headers["x-cache"]) == (200, "MISS")
        assert len(standin.scenario_log.drawings) == 2
        assert one.get(FOX).body == again.body
        assert (again.body, len(objects_of(storage_state_of_project))) != (first.body, 0)
        eventually(lambda: stats_of(one)["total_requests"] == 4)
        assert (stats_of(one)["total_api_calls_made"], stats_of(one)["total_api_calls_saved"]) == (2, 2)

        # A store that goes on losing pictures must not go on costing money.
        objects_of(storage_state_of_project).clear()
        refused = one.get(FOX)
        assert (refused.status, json.loads(refused.body)["code"]) == (503, "generation_failed")
        assert refused.headers["cache-control"] == "no-store"
        assert int(refused.headers["retry-after"]) > 0
    assert len(standin.scenario_log.drawings) == 2


def test_rendition_that_is_lost_or_new_is_made_from_the_original_for_nothing(
    serve: Serve, standin: Standin, storage_state_of_project: StorageState
) -> None:
    with serve("one", **WITHOUT_TIERS) as one:
        first = one.get(FOX)
        objects = objects_of(storage_state_of_project)
        [rendition] = [name for name, stored in objects.items() if stored.body == first.body]
        del objects[rendition]
        again = one.get(FOX)
        assert (again.status, again.body) == (200, first.body), one.log
        eventually(lambda: len(objects) == 3)  # kept behind the answer
        other_format = one.get(FOX.replace(".jpg", ".png"))
        assert (other_format.status, other_format.headers["content-type"]) == (200, "image/png")
        eventually(lambda: stats_of(one)["total_requests"] == 3)
        assert stats_of(one)["total_api_calls_made"] == 1
    assert len(standin.scenario_log.drawings) == 1


def test_key_that_is_not_the_secret_one_is_named_by_every_answer(serve: Serve, project: Supabase) -> None:
    unknown = f"{project.service_role_key}x"
    with serve("one", SUPABASE_SECRET_KEY=unknown) as one:
        refused = one.get(FOX)
        assert (refused.status, json.loads(refused.body)["code"]) == (503, "ledger_misconfigured")
        assert "SUPABASE_SECRET_KEY" in json.loads(refused.body)["detail"]
        assert unknown not in one.log


def test_memoji_of_signed_in_people_lie_in_their_bucket_and_cost_one_credit(
    serve: Serve, standin: Standin, project: Supabase, storage_state_of_project: StorageState, owner_url: str
) -> None:
    secret, user = "what this project's legacy tokens are signed with", uuid4()
    claims = {"sub": str(user), "role": "authenticated", "aud": "authenticated", "iss": f"{project.url}/auth/v1"}
    token = jwt.encode({**claims, "exp": 4_000_000_000}, secret, algorithm="HS256")
    openai = {"OPENAI_API_KEY": "sk-standin", "OPENAI_BASE_URL": standin.openai_url, "SUPABASE_JWT_SECRET": secret}
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("select public.grant_credits(%s, 2, 'order 1')", [user])
    with serve("one", **openai) as one, serve("other", **openai) as other:
        headers = {"authorization": f"Bearer {token}"}
        wishes = ({"hair": "Long"}, {"hair": " long ", "accessories": []})
        first, second = (
            httpx.post(f"http://127.0.0.1:{each.port}/api/generate-memoji", json=wish, headers=headers, timeout=60)
            for each, wish in zip((one, other), wishes, strict=True)
        )
        assert (first.status_code, first.json()["cached"], first.json()["credits"]) == (200, False, 1), first.text
        assert second.json() == {**first.json(), "cached": True}
        eventually(lambda: stats_of(one)["total_requests"] == 2)
        logs = one.log + other.log
    assert len(standin.scenario_log.drawings) == 1
    objects = storage_state_of_project.buckets[MEMOJI.bucket].objects
    assert sorted(path.rpartition(".")[2] for path in objects) == ["png", "webp"]
    [(path, stored)] = [(path, stored) for path, stored in objects.items() if path.endswith(".png")]
    assert first.json()["url"] == f"{project.url}/storage/v1/object/public/{MEMOJI.bucket}/{path}"
    assert httpx.get(first.json()["url"]).content == stored.body
    assert Image.open(BytesIO(stored.body)).size == (1024, 1024)
    assert objects_of(storage_state_of_project) == {}
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute("select prompt_hash, usage_count, image_url from public.memoji_cache").fetchall()
        assert [(row[0], row[2]) for row in rows] == [(first.json()["key"], first.json()["url"])]
        assert connection.execute("select public.audit_credits() -> 'faults'").fetchone() == ([],)
    for never in (token, secret, str(user), project.secret_key):
        assert never not in logs


def test_memoji_of_a_private_bucket_cost_nobody_anything_until_it_is_public_again(
    serve: Serve, standin: Standin, project: Supabase, storage_state_of_project: StorageState, owner_url: str
) -> None:
    secret, user = "what this project's legacy tokens are signed with", uuid4()
    claims = {"sub": str(user), "role": "authenticated", "aud": "authenticated", "iss": f"{project.url}/auth/v1"}
    token = jwt.encode({**claims, "exp": 4_000_000_000}, secret, algorithm="HS256")
    openai = {"OPENAI_API_KEY": "sk-standin", "OPENAI_BASE_URL": standin.openai_url, "SUPABASE_JWT_SECRET": secret}
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("select public.grant_credits(%s, 1, 'order 1')", [user])
    storage_state_of_project.buckets[MEMOJI.bucket].public = False
    with serve("one", **openai) as one:
        headers = {"authorization": f"Bearer {token}"}
        address = f"http://127.0.0.1:{one.port}/api"

        def ask() -> httpx.Response:
            return httpx.post(f"{address}/generate-memoji", json={"hair": "Long"}, headers=headers, timeout=60)

        refused = ask()
        assert (refused.status_code, refused.json()["code"]) == (503, "store_misconfigured")
        assert "memoji-images is private" in refused.json()["detail"]
        assert httpx.get(f"{address}/credits", headers=headers).json()["credits"]["available"] == 1
        assert len(standin.scenario_log.drawings) == 0
        storage_state_of_project.buckets[MEMOJI.bucket].public = True
        with psycopg.connect(owner_url, autocommit=True) as connection:
            connection.execute("update copperplate.breakers set open_until = now()")  # the rest of 15 s is over
        served = ask()
        assert (served.status_code, served.json()["credits"]) == (200, 0), served.text
        assert httpx.get(served.json()["url"]).status_code == 200
