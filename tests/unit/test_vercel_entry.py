"""The Vercel entry: cheap to import, configured in one voice, honest where Supabase is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Each costs a cold start tens to hundreds of milliseconds; none is needed before the first request.
HEAVY = [
    *("fastapi", "starlette", "openai", "fal_client", "httpx", "aiohttp", "jwt", "cryptography"),
    *("PIL", "psycopg", "rich", "click"),
]

LOADED = f"""
import sys
import functions.app
print([name for name in {HEAVY!r} if name in sys.modules])
"""

ASKED = """
import asyncio, json
import functions.app

async def main():
    sent, started, ended = [], asyncio.Event(), asyncio.Event()

    async def receive():
        if not started.is_set():
            started.set()
            return {"type": "lifespan.startup"}
        await ended.wait()
        return {"type": "lifespan.shutdown"}

    ready = asyncio.Event()

    async def told(message):
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete"), message
        ready.set()

    async def send(message):
        sent.append(message)

    life = asyncio.create_task(functions.app.app({"type": "lifespan", "state": {}}, receive, told))
    await ready.wait()
    scope = {"type": "http", "method": "GET", "path": "/1024x1024.jpg", "query_string": b"text=a"}
    scope["headers"] = [(b"host", b"pictures.test")]
    await functions.app.app(scope, None, send)
    ended.set()
    await life
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    print(json.dumps([sent[0]["status"], json.loads(sent[1]["body"]), headers]))

asyncio.run(main())
"""


def on_vercel(program: str) -> str:
    """What a fresh process prints that knows nothing but that it runs on Vercel."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={"VERCEL": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_entry_loads_no_driver_and_no_sdk() -> None:
    assert on_vercel(LOADED) == "[]"


def test_a_request_without_supabase_names_what_to_set() -> None:
    status, problem, headers = json.loads(on_vercel(ASKED))
    assert status == 503
    assert problem["code"] == "misconfigured"
    assert "SUPABASE_URL" in problem["detail"]
    assert "SUPABASE_SECRET_KEY" in problem["detail"]
    assert headers["cache-control"] == "no-store"


@pytest.fixture
def vercel() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((ROOT / "vercel.json").read_text())
    return read


def test_both_files_name_the_same_entry(vercel: dict[str, Any]) -> None:
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["vercel"]["entrypoint"]
    module, _, name = entry.partition(":")
    file = module.replace(".", "/") + ".py"
    assert (ROOT / file).is_file()
    assert f"{name} = " in (ROOT / file).read_text()
    # A key that matches nothing is silently ignored by Vercel, so it must be this file.
    assert list(vercel["functions"]) == [file]


def test_the_whole_repository_is_never_published_as_static_files(vercel: dict[str, Any]) -> None:
    assert vercel["framework"] == "python"
    assert "builds" not in vercel
    assert "rewrites" not in vercel


def test_nothing_of_a_checkout_is_bundled_but_the_entry(vercel: dict[str, Any]) -> None:
    # Vercel reads no .gitignore: what is not left out here, secrets of a developer included, is uploaded.
    assert vercel["functions"]["functions/app.py"]["excludeFiles"] == "{!(functions),!(functions)/**}"


def test_the_cron_runs_daily_on_a_route_that_exists(vercel: dict[str, Any]) -> None:
    from copperplate.http.app import create_app

    assert vercel["crons"] == [{"path": "/api/cache/cleanup", "schedule": "17 3 * * *"}]
    assert "get" in create_app().openapi()["paths"]["/api/cache/cleanup"]
