"""The test bench itself: PostgREST is real, and the gateway before it treats keys as Supabase does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from starlette.responses import JSONResponse

from tests.standin.supabase import Supabase
from tests.support.postgrest_server import make_jwt

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from tests.support.postgrest_server import PostgrestServer

PEEK = {"p_generation_key": "0" * 64, "p_rendition_key": "1" * 64}


def peek(project: Supabase, **headers: str) -> httpx.Response:
    return httpx.post(f"{project.url}/rest/v1/rpc/peek_generation", json=PEEK, headers=headers)


def test_secret_key_alone_opens_the_ledger(supabase: Supabase) -> None:
    answer = peek(supabase, apikey=supabase.secret_key)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "free")
    assert supabase.requests == ["POST /rest/v1/rpc/peek_generation"]


def test_legacy_key_opens_it_in_both_headers(supabase: Supabase) -> None:
    key = supabase.service_role_key
    assert peek(supabase, apikey=key, Authorization=f"Bearer {key}").json()["outcome"] == "free"


@pytest.mark.parametrize("generation", ["publishable_key", "anon_key"])
def test_public_key_opens_statistics_and_not_the_ledger(supabase: Supabase, generation: str) -> None:
    key = getattr(supabase, generation)
    refused = peek(supabase, apikey=key)
    assert (refused.status_code, refused.json()["code"]) == (401, "42501")
    stats = httpx.post(f"{supabase.url}/rest/v1/rpc/get_generation_stats", json={}, headers={"apikey": key})
    assert stats.json()[0]["total_requests"] == 0


def test_token_of_a_person_is_not_replaced_by_the_keys(supabase: Supabase) -> None:
    token = make_jwt("authenticated", sub="6a1f9c5e-0000-4000-8000-000000000001")
    refused = peek(supabase, apikey=supabase.secret_key, Authorization=f"Bearer {token}")
    assert (refused.status_code, refused.json()["code"]) == (403, "42501")


@pytest.mark.parametrize("headers", [{}, {"apikey": "sb_secret_of_another_project"}])
def test_no_key_or_a_strange_one_never_reaches_the_database(supabase: Supabase, headers: dict[str, str]) -> None:
    answer = peek(supabase, **headers)
    assert answer.status_code == 401
    assert "code" not in answer.json()


def test_storage_sees_its_own_path_and_a_token(postgrest: PostgrestServer) -> None:
    async def storage(scope: Scope, receive: Receive, send: Send) -> None:
        told = {name.decode(): value.decode() for name, value in scope["headers"]}
        inner = scope["path"].removeprefix(scope["root_path"])
        await JSONResponse({"path": inner, "token": told.get("authorization")})(scope, receive, send)

    with Supabase(postgrest.url, storage=storage) as project:
        answer = httpx.get(f"{project.url}/storage/v1/bucket", headers={"apikey": project.secret_key})
        assert answer.json() == {"path": "/bucket", "token": f"Bearer {project.service_role_key}"}
        public = httpx.get(f"{project.url}/storage/v1/object/public/generated-images/a.png")
        assert public.json() == {"path": "/object/public/generated-images/a.png", "token": None}


def test_roles_are_those_of_the_database(postgrest: PostgrestServer, owner_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(
            "create function public.who() returns json language sql as"
            " $$ select json_build_array(current_user, session_user, current_setting('statement_timeout')) $$"
        )
    postgrest.restart()
    key = make_jwt("service_role")
    answer = httpx.post(f"{postgrest.url}/rpc/who", json={}, headers={"Authorization": f"Bearer {key}"})
    assert answer.json() == ["service_role", "authenticator", "8s"]
