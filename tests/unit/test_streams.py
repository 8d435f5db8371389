"""Streams of one generation: what is told, to whom, and what a reconnect is told."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.http.event_sources import GenerationSource
from copperplate.recipes.memoji import memoji_request
from copperplate.serving.watches import Pace
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.streaming import (
    ALLOWED,
    EVENTS,
    KEY,
    PICTURE,
    begin,
    desk,
    failed,
    made,
    provider,
    services,
    wish_for,
)
from tests.support.streams import Desk
from tests.unit.test_http_memoji import ALICE, BOB, of

if TYPE_CHECKING:
    from tests.support.coordinator_harness import GatedProvider

__all__ = ["desk", "provider", "services"]


async def test_a_stream_tells_every_state_and_ends_with_the_picture(
    desk: Desk, services: MemoryServices, provider: GatedProvider
) -> None:
    await wish_for(services)
    stream = desk.open(EVENTS)
    [pending] = await stream.told(1)
    finding = begin(services)
    await stream.told(2)
    provider.gate.set()
    await finding
    await asyncio.wait_for(stream.task, 10)
    assert [event.name for event in stream.events] == ["progress", "progress", "completed"]
    assert [event.data["status"] for event in stream.events] == ["pending", "generating", "completed"]
    assert (pending.data["key"], pending.data["kind"], pending.data["url"]) == (KEY, "image", None)
    assert stream.events[1].data["started_at"]
    assert stream.events[2].data["url"] == PICTURE
    assert stream.is_complete
    assert desk.is_empty()


async def test_the_first_event_comes_at_once_with_an_id_and_says_when_to_come_back(
    desk: Desk, services: MemoryServices
) -> None:
    await wish_for(services)
    stream = desk.open(EVENTS)
    [event] = await stream.told(1)
    assert (event.retry, len(event.id)) == ("3000", 16)
    assert not event.id.startswith("final-")
    assert stream.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store, no-transform",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
        "access-control-allow-origin": "*",
    }
    await stream.go()


async def test_only_a_reconnect_with_the_final_id_is_answered_204(
    desk: Desk, services: MemoryServices, provider: GatedProvider
) -> None:
    await made(services, provider)
    first = await desk.whole(EVENTS)
    final = first.events[-1].id
    assert final.startswith("final-")
    by_header = await desk.whole(EVENTS, last_event_id=final)
    by_parameter = await desk.whole(f"{EVENTS}?last_event_id={final}")
    assert [(each.status, each.body) for each in (by_header, by_parameter)] == [(204, b"")] * 2
    for nonsense in ("", "final-", "final-0123456789abcdef", "0", "\xff" * 100, final[6:]):
        again = await desk.whole(EVENTS, last_event_id=nonsense)
        assert (again.status, [event.id for event in again.events]) == (200, [final])
    assert desk.is_empty()


async def test_an_id_of_an_older_end_does_not_hide_a_new_beginning(
    desk: Desk, services: MemoryServices, provider: GatedProvider
) -> None:
    await failed(services, provider)
    ended = (await desk.whole(EVENTS)).events[-1]
    assert (ended.name, ended.data["error"]["code"]) == ("failed", "moderated")
    services.ledger._generations.clear()  # as `reset_failures` and a takedown's end do
    await wish_for(services)
    stream = desk.open(EVENTS, last_event_id=ended.id)
    [event] = await stream.told(1)
    assert event.data["status"] == "pending"
    await stream.go()


async def test_what_runs_by_itself_changes_no_id(provider: GatedProvider) -> None:
    clock = FakeClock()
    services = memory_services(environ=ALLOWED, provider=provider, clock=clock)
    await failed(services, provider)
    desk = Desk(services)
    first = (await desk.whole(EVENTS)).events[-1]
    await clock.advance(7)
    later = (await desk.whole(EVENTS)).events[-1]
    assert later.data["error"]["retry_after_seconds"] == first.data["error"]["retry_after_seconds"] - 7
    assert later.id == first.id
    await services.request_meter.close()


@pytest.mark.parametrize(
    ("url", "method", "status", "code"),
    [
        (EVENTS, "GET", 404, "not_found"),
        ("/api/generations/nonsense/events", "GET", 404, "not_found"),
        ("/api/batches/nonsense/events", "GET", 404, "not_found"),
        (f"/api/batches/{UUID(int=1)}/events", "GET", 404, "not_found"),
        (EVENTS, "POST", 405, "method_not_allowed"),
        (f"{EVENTS}?key=cp_nonsense", "GET", 401, "unauthorized"),
        (f"{EVENTS}?token=nonsense", "GET", 403, "invalid_event_token"),
        (f"{EVENTS}?token={'A' * 43}", "GET", 403, "invalid_event_token"),
        (f"{EVENTS}?token=%FF%00", "GET", 403, "invalid_event_token"),
    ],
)
async def test_what_cannot_be_watched_is_a_problem(desk: Desk, url: str, method: str, status: int, code: str) -> None:
    stream = await desk.whole(url, method=method)
    assert (stream.status, json.loads(stream.body)["code"]) == (status, code)
    assert stream.headers["cache-control"] == "no-store"
    assert desk.is_empty()


async def test_a_host_that_is_not_ours_makes_no_address(services: MemoryServices, desk: Desk) -> None:
    await wish_for(services)
    stream = await desk.whole(EVENTS, host="elsewhere.test")
    assert (stream.status, json.loads(stream.body)["code"]) == (400, "invalid_host")


async def test_head_and_options_open_no_stream(desk: Desk, services: MemoryServices) -> None:
    await wish_for(services)
    head, options = await desk.whole(EVENTS, method="HEAD"), await desk.whole(EVENTS, method="OPTIONS")
    assert (head.status, head.body, head.headers["content-type"]) == (200, b"", "text/event-stream; charset=utf-8")
    assert (options.status, options.headers["access-control-allow-methods"]) == (204, "GET, HEAD, OPTIONS")
    assert desk.is_empty()


@pytest.mark.parametrize("path", ["/events", "/api/generations/events", "/api/other/1/events", "/64x64.jpg"])
async def test_other_addresses_are_passed_on(desk: Desk, path: str) -> None:
    assert (await desk.whole(path)).status == 418
    assert desk.passed_on == [path]


async def test_one_watcher_serves_all_followers_and_ends_with_the_last(
    desk: Desk, services: MemoryServices, provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    state_of = services.ledger.generation_state

    async def counting(key: str, *, with_usual_time: bool) -> Any:
        looks.append(with_usual_time)
        return await state_of(key, with_usual_time=with_usual_time)

    monkeypatch.setattr(services.ledger, "generation_state", counting)
    await wish_for(services)
    streams = [desk.open(EVENTS, x_forwarded_for=str(number)) for number in range(20)]
    for stream in streams:
        await stream.told(1)
    assert (len(looks), len(services.watches)) == (1, 1)
    await streams[0].go()
    assert len(services.watches) == 1
    await made(services, provider)
    for stream in streams[1:]:
        await asyncio.wait_for(stream.task, 10)
        assert stream.events[-1].data["url"] == PICTURE
    assert len(looks) < 5
    # The usual time costs more than all the rest of a look.
    assert looks == [True] + [False] * (len(looks) - 1)
    assert desk.is_empty()


@pytest.mark.parametrize("is_hinted", [True, False])
async def test_a_hint_is_followed_at_once_and_a_missed_one_by_the_next_look(
    desk: Desk, services: MemoryServices, provider: GatedProvider, monkeypatch: pytest.MonkeyPatch, *, is_hinted: bool
) -> None:
    if is_hinted:
        monkeypatch.setattr(GenerationSource, "pace", Pace(first_seconds=600, factor=1, max_seconds=600))
    else:
        monkeypatch.setattr(services.ledger._hints, "announce", lambda key: None)
    finding = begin(services)
    await asyncio.sleep(0)
    stream = desk.open(EVENTS)
    await stream.told(1)
    provider.gate.set()
    await finding
    await asyncio.wait_for(stream.task, 10)
    assert stream.events[-1].name == "completed"


async def test_a_memoji_is_told_to_those_alone_who_asked_for_it(
    desk: Desk, services: MemoryServices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    request = memoji_request({"familyType": "mother"}, provider=services.provider_of("memoji"))
    await wish_for(services, request)
    await services.ledger.begin_request(ALICE, request.generation_key, None)
    url = f"/api/generations/{request.generation_key}/events"
    token = await services.event_tokens.hand_out(request.generation_key)
    of_another = await services.event_tokens.hand_out(KEY)
    for mine in (desk.open(url, **of(ALICE)), desk.open(f"{url}?token={token}")):
        [event] = await mine.told(1)
        assert event.data["kind"] == "memoji"
        await mine.go()
    unknown = await desk.whole(EVENTS)
    for strange in (await desk.whole(url), await desk.whole(url, **of(BOB))):
        # As where there is nothing: a key can be computed by anybody.
        assert (strange.status, strange.body) == (unknown.status, unknown.body)
    refused = await desk.whole(f"{url}?token={of_another}")
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "invalid_event_token")
    assert token not in caplog.text
    assert of_another not in caplog.text
    assert desk.is_empty()


async def test_a_token_is_over_after_ten_minutes(provider: GatedProvider) -> None:
    clock = FakeClock()
    services = memory_services(environ=ALLOWED, provider=provider, clock=clock)
    desk = Desk(services)
    await wish_for(services)
    token = await services.event_tokens.hand_out(KEY)
    await clock.advance(599)
    stream = desk.open(f"{EVENTS}?token={token}")
    await stream.told(1)
    await stream.go()
    await clock.advance(2)
    refused = await desk.whole(f"{EVENTS}?token={token}")
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "invalid_event_token")
    await services.request_meter.close()
