"""Life in a function: what an answer leaves behind is finished before the call is over."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import StoreMisconfigured
from copperplate.http import vercel
from copperplate.ledger_answers import Lead
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import GatedProvider
from tests.support.function_calls import Call, runtime
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from types import ModuleType

SUNSET = "/64x64.jpg?text=a%20beautiful%20sunset"
MOON = "/64x64.jpg?text=a%20moon"
ON_VERCEL = {"VERCEL": "1"}
__all__ = ["runtime"]

CRON_SECRET = "sixteen characters or more"


@pytest.fixture
def provider() -> GatedProvider:
    return GatedProvider(FakeClock())


def impatient(provider: GatedProvider, environ: dict[str, str]) -> MemoryServices:
    """Services that answer 503 at once while a picture is being made."""
    return memory_services(environ=environ, provider=provider, wait_seconds=0)


async def test_the_call_stays_open_until_the_generation_it_left_behind_is_over(provider: GatedProvider) -> None:
    services = impatient(provider, ON_VERCEL)
    call = Call(services, SUNSET)
    await call.answered.wait()
    assert call.status == 503
    assert not call.task.done()
    provider.gate.set()
    await call.task
    assert (await services.renditions.find(picture_request(), GENERATE)).outcome is Outcome.HIT


async def test_elsewhere_the_call_is_over_with_its_answer(provider: GatedProvider) -> None:
    services = impatient(provider, {})
    call = Call(services, SUNSET)
    await call.task
    assert call.status == 503
    provider.gate.set()
    await services.shut_down(within_seconds=5)


async def test_counts_are_handed_over_before_the_call_is_over() -> None:
    services = memory_services(environ=ON_VERCEL)
    await Call(services, SUNSET).task
    assert (await services.ledger.generation_stats()).total_requests == 1
    await services.request_meter.close()


def end_in(runtime: ModuleType, *seconds: float) -> None:
    """The next calls have so many `seconds`, one after the other, before their work is handed over."""
    deadlines = [datetime.now(UTC) + timedelta(seconds=vercel.MARGIN_SECONDS + each) for each in seconds]
    runtime.get_deadline = lambda: deadlines.pop(0)  # type: ignore[attr-defined]


async def test_before_the_deadline_the_generation_is_handed_over(provider: GatedProvider, runtime: ModuleType) -> None:
    end_in(runtime, 0.05)
    services = impatient(provider, ON_VERCEL)
    call = Call(services, SUNSET)
    await call.task
    assert call.status == 503
    assert isinstance(
        await services.ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20)), Lead
    )


async def test_a_call_that_ends_hands_over_only_what_it_left_behind(
    provider: GatedProvider, runtime: ModuleType
) -> None:
    services = impatient(provider, ON_VERCEL)
    end_in(runtime, 0.5, 60)
    ending, beginning = Call(services, SUNSET), Call(services, MOON)
    await ending.task
    assert not beginning.task.done()
    provider.gate.set()
    await beginning.task
    assert provider.submits == 1
    assert (await services.renditions.find(picture_request("a moon"), GENERATE)).outcome is Outcome.HIT


async def test_a_generation_that_a_younger_call_asked_for_too_is_left_to_that_call(
    provider: GatedProvider, runtime: ModuleType
) -> None:
    services = impatient(provider, ON_VERCEL)
    end_in(runtime, 0.5, 60)
    elder, younger = Call(services, SUNSET), Call(services, SUNSET)
    await elder.task
    assert (younger.status, younger.task.done()) == (503, False)
    provider.gate.set()
    await younger.task
    assert (await services.renditions.find(picture_request(), GENERATE)).outcome is Outcome.HIT


async def test_a_picture_that_the_store_refused_is_stored_by_the_next_call_of_the_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = memory_services(environ=ON_VERCEL)

    async def refuse(*_: object, **__: object) -> None:
        raise StoreMisconfigured("bucket generated-images does not exist")

    with monkeypatch.context() as broken:
        broken.setattr(services.store, "put", refuse)
        for url in (SUNSET, MOON):  # the second is told that nothing can be stored, which is a 503 too
            refused = Call(services, url)
            await refused.task
            assert refused.status == 503
    stored = Call(services, SUNSET)
    await stored.task
    assert (stored.status, stored.body) == (200, b"picture 1 as jpg")
    assert services.image_provider.submits == 1
    await services.shut_down(within_seconds=0)
    await services.request_meter.close()


async def test_a_picture_that_is_kept_is_given_up_when_the_instance_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    services = memory_services(environ=ON_VERCEL)

    async def refuse(*_: object, **__: object) -> None:
        raise StoreMisconfigured("bucket generated-images does not exist")

    monkeypatch.setattr(services.store, "put", refuse)
    await Call(services, SUNSET).task
    await services.shut_down(within_seconds=0)
    assert isinstance(
        await services.ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20)), Lead
    )
    await services.request_meter.close()


async def test_a_deadline_during_the_upload_keeps_the_paid_picture(
    runtime: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = memory_services(environ=ON_VERCEL, wait_seconds=0.05)
    end_in(runtime, 0.3, 60)

    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.sleep(600)

    with monkeypatch.context() as patch:
        patch.setattr(services.store, "put", hang)
        first = Call(services, SUNSET)
        await first.task
    second = Call(services, SUNSET)
    await second.task
    submits = services.kinds["image"].provider.submits  # type: ignore[attr-defined]
    assert (first.status, second.status, submits) == (503, 200, 1)
    await services.shut_down(within_seconds=0)
    await services.request_meter.close()


async def test_a_hit_that_reads_when_the_process_is_told_to_stop_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    services = memory_services(environ={"COPPERPLATE_MEMORY_PICTURES": "0"})
    gate, reading = asyncio.Event(), asyncio.Event()
    await Call(services, SUNSET).task
    get = services.store.get

    async def read_slowly(path: str) -> bytes:
        reading.set()
        await gate.wait()
        return await get(path)

    monkeypatch.setattr(services.store, "get", read_slowly)
    hit = Call(services, SUNSET)
    await reading.wait()
    await services.shut_down(within_seconds=0)
    gate.set()
    await hit.task
    assert hit.status == 200
    await services.request_meter.close()


@pytest.mark.parametrize(("seconds", "is_complete"), [(300.0, True), (vercel.MARGIN_SECONDS, False)])
async def test_a_cleanup_ends_before_the_deadline(
    runtime: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    *,
    is_complete: bool,
) -> None:
    caplog.set_level(logging.INFO, "copperplate.operations.cleanup")
    monkeypatch.setattr("copperplate.operations.cleanup.LOOKED", 1)
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)
    runtime.get_deadline = lambda: deadline  # type: ignore[attr-defined]
    clock = FakeClock()
    services = memory_services(
        environ={**ON_VERCEL, "CRON_SECRET": CRON_SECRET, "COPPERPLATE_RENDER_AHEAD": "off"}, clock=clock
    )
    for name in ("one", "two", "three"):
        await services.renditions.read(picture_request(name), GENERATE)
    await clock.advance(31 * 86_400)
    call = Call(services, "/api/cache/cleanup", authorization=f"Bearer {CRON_SECRET}")
    await call.task
    told = json.loads(call.body)
    assert (told["success"], told["is_complete"]) == (True, is_complete)
    assert told["images"] == (3 if is_complete else 1)
    assert f"images={told['images']} " in caplog.text


async def test_a_picture_too_large_for_a_response_is_sent_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copperplate.http.picture_answers.MAX_RESPONSE_BYTES", 3)
    services = memory_services(environ=ON_VERCEL)
    monkeypatch.setattr(services.store, "public_url", lambda path: f"https://project.supabase.co/{path}")
    for outcome in ("MISS", "HIT"):
        call = Call(services, SUNSET)
        await call.task
        assert (call.status, call.body, call.headers["x-cache"]) == (302, b"", outcome)
        assert call.headers["location"].startswith("https://project.supabase.co/")
        assert call.headers["cache-control"] == "public, max-age=300"
        assert "etag" not in call.headers
    assert services.store.gets == 0
    await services.request_meter.close()


async def test_a_picture_too_large_for_a_response_is_made_anew_where_its_object_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("copperplate.http.picture_answers.MAX_RESPONSE_BYTES", 3)
    services = memory_services(environ=ON_VERCEL)
    monkeypatch.setattr(services.store, "public_url", lambda path: f"https://project.supabase.co/{path}")
    locations = []
    for _ in range(2):
        call = Call(services, SUNSET)
        await call.task
        locations.append(call.headers["location"])
        assert (await services.store.exists(locations[-1].removeprefix("https://project.supabase.co/"))) is True
        services.store._objects.clear()
    assert len(set(locations)) == services.image_provider.submits == 2
    await services.request_meter.close()


@pytest.mark.parametrize("environ", [{}, ON_VERCEL])
async def test_a_large_picture_is_answered_where_it_may_or_must(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copperplate.http.picture_answers.MAX_RESPONSE_BYTES", 3)
    services = memory_services(environ=environ)
    if not environ:
        monkeypatch.setattr(services.store, "public_url", lambda path: f"https://project.supabase.co/{path}")
    call = Call(services, SUNSET)
    await call.task
    assert (call.status, call.body) == (200, b"picture 1 as jpg")
    await services.request_meter.close()
