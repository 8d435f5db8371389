"""Hundreds of callers who may not spend: none does, none is answered 500, and no error of theirs may be kept."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from asgi_lifespan import LifespanManager

from copperplate.access.api_keys import make_key
from copperplate.access.wrong_keys import BURST, SPARE
from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.http.app import create_app
from copperplate.http.picture_urls import PictureUrls
from copperplate.testing import GENERATE
from tests.support.bad_callers import FOREIGN, KEY, OLD, Ask, Case, access_cases, signature_cases
from tests.support.bad_caps import Night, cap_cases, faulty_caps, nights
from tests.support.bad_keys import GOOD, KNOWN, key_cases
from tests.support.bad_peers import peer_cases
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fastapi import FastAPI

    from copperplate.model import CanonicalValue, InputPicture, Job, ProviderResult
    from tests.support.memory_services import MemoryServices

CASES = [*signature_cases(), *access_cases(), *peer_cases(), *cap_cases(), *key_cases()]
CACHEABLE = {"etag", "last-modified", "expires", "age", "vercel-cdn-cache-control", "cdn-cache-control", "x-cache"}
SECRETS = tuple(key.secret for key in (KEY, OLD, FOREIGN))
Answer = tuple[int, dict[str, str], bytes]


async def send(app: FastAPI, ask: Ask) -> Answer:
    """One request, as a server would have read it."""
    raw_path, _, query = ask.target.encode().partition(b"?")
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answer(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), *((name.encode(), value.encode("latin-1")) for name, value in ask.headers)]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": ask.method,
        "scheme": "http",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": (ask.peer, 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, answer)
    told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])


@contextlib.asynccontextmanager
async def opened(
    environ: dict[str, str], *, clock: FakeClock | None = None, provider: ScriptedProvider | None = None
) -> AsyncIterator[tuple[MemoryServices, FastAPI]]:
    """The application over memory, on a clock that stands still."""
    services = memory_services(clock=clock or FakeClock(), environ=environ, provider=provider)
    yield services, create_app(services=services)
    await services.request_meter.close()
    await services.coordinator.shut_down(within_seconds=0)


def check(answer: Answer, code: str | None, status: int, *, has_body: bool = True) -> None:
    """What holds for every answer."""
    found, headers, body = answer
    assert found == status, (answer, code)
    if code is None:
        assert headers["cache-control"] == "public, max-age=3600, immutable"
        return
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "application/problem+json"
    assert not CACHEABLE & set(headers), headers
    if has_body:
        problem = json.loads(body)
        assert (problem["code"], problem["status"]) == (code, status)
        if code.startswith("budget_"):
            assert problem.keys() >= {"budget", "left_usd", "left_pictures", "resets_at"}
            assert 1 <= int(headers["retry-after"]) <= 86_400


def test_there_are_enough_cases_and_none_twice() -> None:
    assert len(CASES) >= 250
    assert [name for name, count in Counter(map(str, CASES)).items() if count > 1] == []
    assert len([case for case in CASES if case.family == "untrusted peer" and "X-Forwarded-For" in case.name]) >= 50


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_nobody_spends_beyond_what_is_allowed(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    clock = FakeClock()
    async with opened(case.environ, clock=clock) as (services, app):
        if case.has_keys:
            for known in KNOWN.values():
                await known.put(services.ledger)
            await clock.advance(1)
        if case.is_kept:
            await make(services, case.ask)
        calls = services.image_provider.submits
        for ask in case.before:
            check(await send(app, ask), None, 200)
        answer = await send(app, case.ask)
        check(answer, case.code, case.status, has_body=case.ask.method != "HEAD")
        assert services.image_provider.submits - calls == case.calls
    shown = caplog.text + str(answer[1]) + (answer[2].decode() if case.code else "")
    for secret in (*SECRETS, *_presented(case.ask)):
        assert secret not in shown


async def make(services: MemoryServices, ask: Ask) -> None:
    """Have the picture made at the owner's cost."""
    path, _, query = ask.target.partition("?")
    requested = PictureUrls(services.image_provider).read(unquote(path), query.encode())
    assert requested is not None
    await services.renditions.read(requested.picture_request, GENERATE)


def _presented(ask: Ask) -> list[str]:
    """What of a request is a secret: signatures, keys and tokens that are long enough to be told from chance."""
    query = ask.target.partition("?")[2].split("&")
    values = [part.partition("=")[2] for part in query if part.startswith(("sig=", "kid=", "exp=", "key="))]
    sent = [value for name, value in ask.headers if name in ("authorization", "x-api-key")]
    values += [word for value in sent for word in value.split()]
    return [value for value in values if len(value) > 16]


async def test_wrong_keys_of_one_address_are_bounded_in_rate(caplog: pytest.LogCaptureFixture) -> None:
    async with opened({}) as (services, app):
        await GOOD.put(services.ledger)
        for number in range(2 * (BURST + SPARE)):  # mistyped: none of them counts
            check(await send(app, Ask(headers=(("x-api-key", f"cp_{number:057}"),))), "unauthorized", 401)
        for _ in range(BURST + SPARE):
            check(await send(app, Ask(headers=(("x-api-key", make_key().text),))), "unauthorized", 401)
        answer = await send(app, Ask(headers=(("x-api-key", make_key().text),)))
        check(answer, "too_many_wrong_keys", 429)
        assert int(answer[1]["retry-after"]) >= 1
        good = (("x-api-key", GOOD.text),)
        check(await send(app, Ask(headers=good)), "too_many_wrong_keys", 429)  # it cannot be told from a wrong one
        check(await send(app, Ask(headers=good, peer="203.0.113.10")), None, 200)
        check(await send(app, Ask(headers=good)), None, 200)  # it is known by now
        assert services.image_provider.submits == 1


@pytest.mark.parametrize(("variable", "value"), list(faulty_caps()), ids=lambda each: repr(each)[:40])
async def test_cap_that_is_none_stops_the_server(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, value)
    app = create_app()
    async with LifespanManager(app):
        check(await send(app, Ask()), "misconfigured", 503)
    assert variable in caplog.text


class Nightfall(ScriptedProvider):
    """A provider during whose calls midnight comes."""

    def __init__(self, clock: FakeClock, night: Night) -> None:
        super().__init__(clock)
        self.night = night
        if night.moment == "between two submits":
            self.failures = [ProviderFailed(FailureClass.AMBIGUOUS, "no answer")]

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        if self.submits == 0 and self.night.moment in ("during the submit", "between two submits"):
            await self.fall()
        return await super().submit(recipe, inputs)

    async def fall(self) -> None:
        """Let midnight come, once."""
        if self.clock.now() <= self.night.eve:
            await self.clock.advance(1 + self.night.seconds)


@pytest.mark.parametrize("night", list(nights()), ids=str)
async def test_submit_belongs_to_the_day_in_which_it_is_sent(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(night.eve)
    provider = Nightfall(clock, night)
    two_each = {"COPPERPLATE_ANONYMOUS_BUDGET_USD": "0.06"}
    async with opened(two_each, clock=clock, provider=provider) as (services, app):
        for patched, name, moment in (
            (services.ledger, "begin_submit", "before the submit"),
            (services.store, "put", "while it is stored"),
        ):
            if night.moment == moment:
                monkeypatch.setattr(patched, name, after(provider.fall, getattr(patched, name)))
        check(await send(app, Ask(target="/64x64.png?text=in+the+night")), None, 200)
        assert provider.submits == night.calls
        for number in range(night.second_day):
            check(await send(app, Ask(target=f"/64x64.png?text=in+the+morning+{number}")), None, 200)
        check(await send(app, Ask()), "budget_exhausted", 402)
        assert provider.submits == night.calls + night.second_day


def after(first: Any, then: Any) -> Any:
    """A method that does something before it does what it did."""

    async def method(*args: Any, **values: Any) -> Any:
        await first()
        return await then(*args, **values)

    return method
