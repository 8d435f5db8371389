"""At least two hundred ways to an error: each told honestly, none cacheable, none repeating a prompt or a secret."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from asgi_lifespan import LifespanManager

from copperplate import errors
from copperplate.adapters.memory.clock import FakeClock
from copperplate.denials import NotEnoughCredits
from copperplate.errors import (
    FolderUnavailable,
    LedgerMisconfigured,
    LedgerUnavailable,
    PoolerExhausted,
    StoreMisconfigured,
    StoreUnavailable,
)
from copperplate.http.app import create_app
from copperplate.imaging.pillow_images import PillowImages
from copperplate.settings import Settings
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.error_paths import (
    OF_FAL,
    OF_OPENAI,
    PICTURE,
    PROMPT,
    SECRET,
    UNDECIDED,
    Path,
    all_paths,
)
from tests.support.error_paths_users import ASKED, JWT_SECRET, MEMOJI, user_paths
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.provider_harness import KEY, fal_at, openai_at
from tests.support.tokens import USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fastapi import FastAPI

    from copperplate.model import CanonicalValue, InputPicture
    from tests.standin.server import Standin

PATHS = [*all_paths(), *user_paths()]
PASSWORD = "password-of-the-zebra"
NEVER_SHOWN = (PROMPT, SECRET, KEY, PASSWORD)
MAX_RETRY_SECONDS = 86_400
CODES = {
    # Denials have a table of their own, but for what a path of this one tells.
    *(each.code for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "code")),
    NotEnoughCredits.code,
}


class Endless(ScriptedProvider):
    """Takes the order and never delivers."""

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> Any:
        await asyncio.Event().wait()


def failing(error: Exception) -> Any:
    """A method that only fails."""

    async def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def fine(**options: Any) -> MemoryServices:
    return memory_services(environ={"CRON_SECRET": SECRET, "SUPABASE_JWT_SECRET": JWT_SECRET}, **options)


def with_ledger(error: Exception) -> MemoryServices:
    services = fine()
    care = "generation_stats kind_stats sweep cleanup_entries"
    calls = f"acquire peek {care} record_usage credits begin_request is_requested_by"
    for name in calls.split():
        setattr(services.ledger, name, failing(error))
    return services


# Each world, without what takes a provider: something is missing, down, full or broken in it.
WORLDS: dict[str, Any] = {
    "fine": fine,
    "no cron secret": memory_services,
    "keys down": lambda: memory_services(environ={"SUPABASE_URL": "http://127.0.0.1:1"}),
    "asked before": fine,
    "ledger down": lambda: with_ledger(LedgerUnavailable("10.0.0.1 does not answer")),
    "store down": fine,
    "ledger refuses": lambda: with_ledger(LedgerMisconfigured("DATABASE_URL: its role may not use the functions")),
    "pooler full": lambda: with_ledger(PoolerExhausted("10.0.0.1 lends no session")),
    "folder full": fine,
    "store refuses": fine,
    "broken": lambda: with_ledger(RuntimeError(f"a bug with {PROMPT} and {SECRET}")),
    "wait over": lambda: fine(provider=Endless(FakeClock()), wait_seconds=0.02),
    "waiters full": lambda: fine(provider=Endless(FakeClock()), wait_seconds=60, max_waiters=1),
}
# What becomes of the store in some of them, once an original is stored.
STORES = {
    "store down": StoreUnavailable("no disk"),
    "folder full": FolderUnavailable("/srv/pictures is full"),
    "store refuses": StoreMisconfigured("the bucket generated-images does not exist: run `copperplate migrate`"),
}


@contextlib.asynccontextmanager
async def opened(world: str) -> AsyncIterator[FastAPI]:
    """The real application in one of the worlds."""
    if world == "not started":
        yield create_app()
        return
    if world == "misconfigured":
        environ = {"SUPABASE_URL": "https://x.example", "DATABASE_URL": f"postgres://u:{PASSWORD}@10.0.0.1/x"}
        app = create_app(Settings.from_env(environ))
        async with LifespanManager(app):
            yield app
        return
    services = WORLDS[world]()
    app = create_app(services=services)
    callers = []
    if world == "waiters full":
        callers = [asyncio.create_task(ask(app, "GET", PICTURE)) for _ in range(2)]
        await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)  # one waits, and the other is sent away
    if world == "asked before":
        await services.ledger.grant_credits(UUID(USER), 1, "for the first")
        assert (await ask(app, "POST", MEMOJI, ASKED, b"{}"))[0] == 200
    if world in STORES:
        await ask(app, "GET", PICTURE.replace("png", "webp"))
        for name in ("get", "put"):
            setattr(services.store, name, failing(STORES[world]))
    yield app
    for each in callers:
        each.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    with contextlib.suppress(Exception):
        await services.request_meter.close()
    await services.coordinator.shut_down(within_seconds=0)


async def ask(
    app: FastAPI, method: str, url: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Send one request as a server would have read it."""
    raw_path, _, query = url.encode().partition(b"?")
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost"), *((name.encode(), value.encode("latin-1")) for name, value in headers)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])


def check(path: Path, answer: tuple[int, dict[str, str], bytes], log: str) -> None:
    """What holds for every error there is."""
    status, headers, body = answer
    shown = f"{path.name}: {status} {headers} {body[:300]!r}"
    assert status == path.status >= 400, shown
    assert headers["content-type"] == "application/problem+json", shown
    assert headers["cache-control"] == "no-store", shown
    assert headers["x-content-type-options"] == "nosniff", shown
    kept = {"etag", "last-modified", "expires", "age", "vercel-cdn-cache-control", "cdn-cache-control", "x-cache"}
    assert not kept & set(headers), shown
    if "retry-after" in headers:
        assert 1 <= int(headers["retry-after"]) <= MAX_RETRY_SECONDS, shown
    assert path.code in CODES, shown
    if path.method == "HEAD":
        assert body == b"" or path.route != "picture", shown  # servers drop what a route answers to HEAD
    else:
        problem = json.loads(body)
        assert (problem["code"], problem["status"]) == (path.code, path.status), shown
        assert problem["type"] == f"urn:copperplate:error:{path.code}", shown
        assert set(problem) == {"type", "title", "status", "detail", "code"}, shown
    for secret in NEVER_SHOWN:
        assert secret.encode() not in body, shown
        assert secret not in str(headers), shown
        assert secret not in log, f"{path.name}: {log[-2_000:]}"


def test_there_are_two_hundred_distinct_paths_and_none_twice() -> None:
    names = [path.name for path in PATHS]
    assert len(set(names)) == len(names)
    assert len(names) >= 200
    # Everything that callers can be told is told by some path; generation_failed has providers of its own,
    # CDNs and Redis are told of on the command line alone, a picture is gone only for who got it under a key before.
    # Of a picture that is there, a part is asked for past its end in `bad_urls`.
    never = {"unavailable", "generation_failed", "invalid_request", "picture_gone", "unsatisfiable_range"}
    never |= {"cdn_unavailable", "redis_unavailable"}
    assert {path.code for path in PATHS} >= CODES - never, CODES - {path.code for path in PATHS}


@pytest.mark.parametrize("world", sorted({path.world for path in PATHS}))
async def test_no_error_may_be_kept(world: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for path in (each for each in PATHS if each.world == world):
        caplog.clear()
        async with opened(world) as app:
            answer = await ask(app, path.method, path.url, path.headers, path.body)
            check(path, answer, caplog.text)


SCENARIOS = [("fal", each) for each in OF_FAL + UNDECIDED] + [("openai", each) for each in OF_OPENAI]


def test_there_are_a_hundred_ways_for_a_provider_to_fail() -> None:
    assert len(set(SCENARIOS)) == len(SCENARIOS) >= 100


@pytest.mark.parametrize("name", ["fal", "openai"])
async def test_no_failure_of_a_provider_may_be_kept(
    name: str, standin: Standin, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked, asked again by somebody who holds something and wants a part of it, and looked for with HEAD."""
    caplog.set_level("DEBUG", logger="copperplate")
    images = PillowImages()
    for scenario in (each for provider, each in SCENARIOS if provider == name):
        is_undecided = name == "fal" and scenario in UNDECIDED
        # What is never decided is given up soon; everything else has the time it needs.
        seconds = 0.2 if is_undecided else 20
        provider = fal_at(standin.url, seconds=seconds) if name == "fal" else openai_at(standin.openai_url)
        services = fine(provider=provider, images=images)
        app = create_app(services=services)
        standin.scenario_log.tell(PROMPT, scenario)
        caplog.clear()
        for method, headers in (("GET", ()), ("GET", (("if-none-match", "*"), ("range", "bytes=0-9"))), ("HEAD", ())):
            answer = await ask(app, method, PICTURE, headers)
            code = "still_generating" if is_undecided else "generation_failed"
            status = 503 if is_undecided else answer[0]
            if is_undecided and method == "HEAD":
                code, status = "not_generated", 404
            path = Path(route="picture", method=method, cause=scenario, code=code, status=status, world=name)
            check(path, answer, caplog.text)
            assert answer[0] in {404, 422, 502, 503}
            assert ("retry-after" in answer[1]) == (code != "not_generated")
            if is_undecided and method == "GET":
                break  # the job is waited for by its lease's holder; HEAD is asked in the world "wait over"
        await services.request_meter.close()
        await services.coordinator.shut_down(within_seconds=0)
        await provider.close()
    images.close()
