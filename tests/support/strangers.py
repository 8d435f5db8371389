"""Fixtures: a Supabase project that strangers may sign in to, and a server in the recommended public mode.

Real: the server, PostgREST, Postgres with its trigger. STAND-INS: Turnstile, Supabase Auth, Storage, fal, OpenAI.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import psycopg
import pytest

from tests.e2e.dev_server import UNSET
from tests.e2e.served import serving
from tests.support.commands import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster
    from tests.e2e.served import Served
    from tests.standin.server import Standin
    from tests.standin.sign_ups import SignUps
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase
    from tests.standin.turnstile import Turnstile
    from tests.support.postgrest_server import PostgrestServer

WELCOME: Final = Path(__file__).parents[2] / "sql" / "welcome_strangers.sql"
# What all strangers together may have made a day in these tests.
STRANGERS_SHARE: Final = 2
WISHES: Final = [
    {"familyType": who, "gesture": gesture} for who in ("grandmother", "father") for gesture in ("wave", "heart")
]


@pytest.fixture
def turnstile() -> Iterator[Turnstile]:
    from tests.standin.turnstile import Turnstile

    with Turnstile() as running:
        yield running


@pytest.fixture
def sign_ups(turnstile: Turnstile, cluster: Cluster, database: str, owner_url: str) -> SignUps:
    """Supabase Auth with anonymous sign-ins and the captcha switched on, and the grant of docs/access.md."""
    from tests.standin.sign_ups import SignUps
    from tests.standin.turnstile import SECRET

    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(WELCOME.read_bytes())
    admin_url = cluster.url("supabase_admin", database)
    return SignUps(admin_url, siteverify_url=turnstile.siteverify_url, secret=SECRET)


@pytest.fixture
def public_project(
    sign_ups: SignUps, postgrest: PostgrestServer, storage_state_of_project: StorageState
) -> Iterator[Supabase]:
    from tests.standin.storage import make_storage
    from tests.standin.supabase import Supabase

    with Supabase(postgrest.url, storage=make_storage(storage_state_of_project), auth=sign_ups) as running:
        sign_ups.project_url = running.url
        yield running


@pytest.fixture
def public_variables(public_project: Supabase, standin: Standin) -> dict[str, str]:
    """The server's, as docs/access.md recommends them."""
    return {
        "SUPABASE_URL": public_project.url,
        "SUPABASE_SECRET_KEY": public_project.secret_key,
        "COPPERPLATE_ACCESS": "keys",
        "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES": str(STRANGERS_SHARE),
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        "OPENAI_API_KEY": "sk-standin",
        "OPENAI_BASE_URL": standin.openai_url,
    }


@pytest.fixture
def public_server(public_variables: dict[str, str], tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "server", **public_variables) as running:
        yield running


def sign_up(project: Supabase, captcha_token: str | None) -> httpx.Response:
    """As supabase-js asks for it."""
    return httpx.post(
        f"{project.url}/auth/v1/signup",
        headers={"apikey": project.publishable_key, "x-supabase-api-version": "2024-01-01"},
        json={"data": {}, "gotrue_meta_security": {"captcha_token": captcha_token}},
    )


def stranger(project: Supabase, turnstile: Turnstile) -> str:
    """The access token of somebody new."""
    token: str = sign_up(project, turnstile.solve()).json()["access_token"]
    return token


def ask(server: Served, token: str, wish: dict[str, str], **headers: str) -> httpx.Response:
    sent = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(f"{server.url}/api/generate-memoji", json=wish, headers=sent, timeout=60)


def run(variables: dict[str, str], *arguments: str) -> str:
    """What a command of the operator prints, over the same project."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(UNSET)}
    done = run_command(*arguments, environment={**own, **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls(standin: Standin) -> int:
    return sum(standin.scenario_log.posts.values())


def credits_of(server: Served, token: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/api/credits", headers={"authorization": f"Bearer {token}"})
    found: dict[str, Any] = answer.json()["credits"]
    return found
