"""How streams end, and what is left behind: callers that freeze or go, outages, bounds, stops, and Vercel."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.errors import LedgerUnavailable
from copperplate.generation.lookup import LookupOptions
from copperplate.http import streams as module
from copperplate.http.event_sources import GenerationSource
from copperplate.http.followers import COMMENT, StreamTimes
from copperplate.http.vercel import MIN_WORK_SECONDS, Invocation
from copperplate.http.wiring import Wiring
from copperplate.ledger_answers import Lead
from copperplate.serving.watches import Pace
from copperplate.testing import GENERATE
from copperplate.wishes import NewBatch, Settlement, WishStatus
from copperplate.work.promises import new_wish
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.streaming import (
    ALLOWED,
    EVENTS,
    KEY,
    LEASE,
    REQUEST,
    begin,
    desk,
    made,
    provider,
    services,
    wish_for,
)
from tests.support.streams import Desk

if TYPE_CHECKING:
    from copperplate.wishes import GenerationState
    from tests.support.coordinator_harness import GatedProvider

__all__ = ["desk", "provider", "services"]


async def test_comments_go_on_while_the_ledger_is_away_and_the_event_follows(
    services: MemoryServices, provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(services, StreamTimes(comment=0.02, send=60, life=60, tick=0.005))
    await wish_for(services)
    stream = desk.open(EVENTS)
    await stream.told(1)

    async def away(key: str, **_: bool) -> Any:
        raise LedgerUnavailable(key)

    with monkeypatch.context() as outage:
        outage.setattr(services.ledger, "generation_state", away)
        await made(services, provider)
        await asyncio.sleep(0.4)  # longer than the first pause between two looks
        assert not stream.task.done()
        assert stream.body.count(b":\n\n") >= 2
    await asyncio.wait_for(stream.task, 10)
    assert [event.name for event in stream.events] == ["progress", "completed"]


async def test_an_outage_is_a_problem_to_who_comes_and_a_pause_to_who_comes_back(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: str, **_: bool) -> Any:
        raise LedgerUnavailable(key)

    monkeypatch.setattr(services.ledger, "generation_state", away)
    new, returning = await desk.whole(EVENTS), await desk.whole(EVENTS, last_event_id="0123456789abcdef")
    assert (new.status, json.loads(new.body)["code"]) == (503, "ledger_unavailable")
    # An EventSource never comes back after any other status.
    assert (returning.status, returning.body[:12]) == (200, b"retry: 3000\n")
    assert returning.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert desk.is_empty()


async def test_a_stream_ends_in_time_for_its_caller_to_come_back(services: MemoryServices) -> None:
    desk = Desk(services, StreamTimes(comment=60, send=60, life=0.05, tick=0.01))
    await wish_for(services)
    stream = await desk.whole(EVENTS)
    assert (stream.is_complete, stream.was_aborted, len(stream.events)) == (True, False, 1)
    assert desk.is_empty()


async def test_a_process_that_stops_sends_its_followers_away(desk: Desk, services: MemoryServices) -> None:
    await wish_for(services)
    stream = desk.open(EVENTS)
    await stream.told(1)
    await services.shut_down(within_seconds=0)
    await asyncio.wait_for(stream.task, 10)
    assert (stream.is_complete, len(stream.events)) == (True, 1)
    late = await desk.whole(EVENTS)
    assert (late.status, len(late.events)) == (200, 1)
    assert desk.is_empty()


async def test_a_caller_that_reads_nothing_is_gone_after_one_send(services: MemoryServices) -> None:
    desk = Desk(services, StreamTimes(comment=0.02, send=0.1, life=60, tick=0.01))
    await wish_for(services)
    frozen, reading = desk.open(EVENTS), desk.open(EVENTS)
    await frozen.told(1)
    await reading.told(1)
    frozen.may_read.clear()
    await asyncio.wait_for(frozen.task, 10)
    assert (frozen.was_aborted, frozen.is_complete) == (True, False)
    assert not reading.task.done()
    await reading.go()
    assert desk.is_empty()


async def test_a_caller_that_does_not_take_the_end_is_closed(services: MemoryServices) -> None:
    desk = Desk(services, StreamTimes(comment=60, send=0.05, life=0.05, tick=0.01))
    await wish_for(services)
    frozen = desk.open(EVENTS)
    await frozen.told(1)
    frozen.may_read.clear()
    await asyncio.wait_for(frozen.task, 10)
    assert (frozen.was_aborted, frozen.is_complete) == (True, False)
    assert desk.is_empty()


async def test_who_fell_behind_is_told_the_newest_state_alone(
    desk: Desk, services: MemoryServices, provider: GatedProvider
) -> None:
    await wish_for(services)
    slow = desk.open(EVENTS)
    slow.may_read.clear()
    await asyncio.sleep(0.01)
    watching = desk.open(EVENTS)
    await watching.told(1)
    finding = begin(services)
    await watching.told(2)
    provider.gate.set()
    await finding
    await asyncio.wait_for(watching.task, 10)
    slow.may_read.set()
    await asyncio.wait_for(slow.task, 10)
    assert [event.name for event in slow.events][-1] == "completed"
    assert len(slow.events) <= 2
    assert desk.is_empty()


@pytest.mark.parametrize(
    ("variable", "status", "code"),
    [
        ("COPPERPLATE_MAX_STREAMS", 503, "too_many_streams"),
        ("COPPERPLATE_STREAMS_PER_ADDRESS", 429, "too_many_streams_of_address"),
    ],
)
async def test_streams_are_bounded(provider: GatedProvider, variable: str, status: int, code: str) -> None:
    services = memory_services(environ={**ALLOWED, variable: "2"}, provider=provider)
    desk = Desk(services)
    await wish_for(services)
    streams = [desk.open(EVENTS) for _ in range(2)]
    for stream in streams:
        await stream.told(1)
    refused = await desk.whole(EVENTS)
    assert (refused.status, json.loads(refused.body)["code"]) == (status, code)
    assert int(refused.headers["retry-after"]) > 0
    await streams[0].go()
    again = desk.open(EVENTS)
    await again.told(1)
    for stream in (streams[1], again):
        await stream.go()
    assert desk.is_empty()
    await services.request_meter.close()


async def test_ten_thousand_reconnects_leave_nothing_behind(desk: Desk, services: MemoryServices) -> None:
    await wish_for(services)
    tasks = len(asyncio.all_tasks())
    for _ in range(500):
        streams = [desk.open(EVENTS, last_event_id="0123456789abcdef") for _ in range(20)]
        for stream in streams:
            stream._gone.set()
        await asyncio.gather(*(stream.task for stream in streams))
        assert all(stream.status == 200 for stream in streams)
        assert desk.is_empty()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == tasks
    assert not services.ledger._hints._watchers


async def test_on_vercel_a_stream_ends_before_its_call_would(
    provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "work_seconds_left", lambda: MIN_WORK_SECONDS + module.LAST_SECONDS + 0.05)
    services = memory_services(environ={**ALLOWED, "VERCEL": "1"}, provider=provider)
    desk = Desk(services)
    finding = begin(services)
    await asyncio.sleep(0)
    stream = await desk.whole(EVENTS)
    assert (stream.is_complete, [event.name for event in stream.events]) == (True, ["progress"])
    assert services.work.is_due
    provider.gate.set()
    await finding
    await services.request_meter.close()


async def test_on_vercel_a_stream_of_what_nobody_makes_ends_soon_for_its_call_to_make_it(
    provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    services = memory_services(environ={**ALLOWED, "VERCEL": "1"}, provider=provider)
    desk = Desk(services)
    await services.ledger.make_wish(new_wish(REQUEST, GENERATE, owner="anonymous"), held_for=timedelta(0))
    stream = await desk.whole(EVENTS)
    assert stream.is_complete
    assert services.work.is_due
    await services.request_meter.close()


async def test_on_vercel_a_stream_whose_leader_dies_ends_soon_and_one_that_is_led_goes_on(
    provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(GenerationSource, "pace", Pace(first_seconds=0.01, factor=1, max_seconds=0.01))
    services = memory_services(environ={**ALLOWED, "VERCEL": "1"}, provider=provider)
    desk = Desk(services)
    await wish_for(services)
    held = await services.ledger.acquire(REQUEST, leader=uuid4(), lease_duration=LEASE, spending=None)
    assert isinstance(held, Lead)
    await services.ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
    stream = desk.open(EVENTS)
    await asyncio.sleep(0.2)
    assert not stream.task.done()

    async def state_of(key: str, *, with_usual_time: bool = False) -> GenerationState | None:
        """As it is told once its lease is over."""
        state = await generation_state(key, with_usual_time=with_usual_time)
        return None if state is None else replace(state, is_led=False)

    generation_state = services.ledger.generation_state
    monkeypatch.setattr(services.ledger, "generation_state", state_of)
    await asyncio.wait_for(stream.task, 10)
    assert [event.data["status"] for event in stream.events] == ["generating"]
    assert services.work.is_due
    await services.request_meter.close()


async def test_a_wish_that_is_withdrawn_ends_the_stream_without_an_end(desk: Desk, services: MemoryServices) -> None:
    wish = await wish_for(services)
    stream = desk.open(EVENTS)
    await stream.told(1)
    await services.ledger.settle_wish(wish, Settlement(status=WishStatus.CANCELED))
    await asyncio.wait_for(stream.task, 10)
    assert (stream.is_complete, len(stream.events)) == (True, 1)
    assert (await desk.whole(EVENTS)).status == 404


async def test_on_vercel_the_call_of_a_stream_makes_what_nobody_made(
    services: MemoryServices, provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    on_vercel = replace(services, settings=replace(services.settings, on_vercel=True))
    desk = Desk(on_vercel)
    desk.app = Invocation(desk.app, Wiring(on_vercel))  # type: ignore[assignment]
    options = LookupOptions(permit=services.gate.permit_of_owner(REQUEST))
    wish = new_wish(REQUEST, options, owner="owner", paths=("/64x64.jpg",))
    name = await services.ledger.create_batch(NewBatch(owner="owner", wishes=(wish,)))
    provider.gate.set()
    stream = await desk.whole(f"/api/batches/{name}/events")
    assert [event.name for event in stream.events] == ["progress"]
    assert provider.submits == 1
    back = await desk.whole(f"/api/batches/{name}/events", last_event_id=stream.events[-1].id)
    assert back.events[-1].data["counts"]["completed"] == 1


async def test_a_send_that_fails_ends_its_stream_alone_and_is_logged_once(
    services: MemoryServices, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(services, StreamTimes(comment=0.02, send=60, life=60, tick=0.01))
    await wish_for(services)
    bad, worse, reading = (desk.open(EVENTS) for _ in range(3))
    for stream in (bad, worse, reading):
        await stream.told(1)
    bad.is_broken = worse.is_broken = True
    await asyncio.wait_for(asyncio.gather(bad.task, worse.task), 10)
    assert bad.was_aborted
    reading.body = b""
    async with asyncio.timeout(10):
        while COMMENT not in reading.body:  # the timer goes on
            await asyncio.sleep(0.002)
    assert [record.levelname for record in caplog.records if "a stream" in record.getMessage()] == ["ERROR"]
    await reading.go()
    assert desk.is_empty()
