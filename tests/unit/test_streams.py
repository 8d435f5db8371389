"""Streams of one generation: what is told, when it ends, what a reconnect is told, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.http import streams as module
from copperplate.http.event_sources import GenerationSource
from copperplate.http.event_tokens import make_token
from copperplate.http.followers import StreamTimes
from copperplate.http.vercel import MIN_WORK_SECONDS, Invocation
from copperplate.http.wiring import Wiring
from copperplate.recipes.memoji import memoji_request
from copperplate.serving.watches import Pace
from copperplate.testing import GENERATE
from copperplate.wishes import NewBatch, Settlement, WishStatus
from copperplate.work.promises import new_wish
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request
from tests.support.streams import Desk
from tests.unit.test_http_memoji import ALICE, BOB, SECRET, of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from copperplate.model import CanonicalValue, Job, PictureRequest, ProviderResult

REQUEST = picture_request()
KEY = REQUEST.generation_key
EVENTS = f"/api/generations/{KEY}/events"
PICTURE = f"http://pictures.test/api/images/{KEY}"
ALLOWED = {"COPPERPLATE_ALLOWED_HOSTS": "pictures.test", "SUPABASE_JWT_SECRET": SECRET}
LEASE = timedelta(seconds=20)


@dataclass
class GatedProvider(ScriptedProvider):
    """Makes nothing until the gate is opened."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[bytes] = ()) -> Job | ProviderResult:
        await self.gate.wait()
        return await super().submit(recipe, inputs)


@pytest.fixture
def provider() -> GatedProvider:
    return GatedProvider(FakeClock())


@pytest.fixture
async def services(provider: GatedProvider) -> AsyncIterator[MemoryServices]:
    made = memory_services(environ=ALLOWED, provider=provider)
    yield made
    provider.gate.set()
    await made.shut_down(within_seconds=5)
    await made.request_meter.close()


@pytest.fixture
def desk(services: MemoryServices) -> Desk:
    return Desk(services)


async def wish_for(services: MemoryServices, request: PictureRequest = REQUEST) -> int:
    """An open wish that somebody is about to make."""
    return await services.ledger.make_wish(new_wish(request, GENERATE, owner="anonymous"), held_for=LEASE)


def begin(services: MemoryServices, request: PictureRequest = REQUEST) -> asyncio.Task[Any]:
    return asyncio.create_task(services.coordinator.find(request, LookupOptions(permit=GENERATE.permit)))


async def made(services: MemoryServices, provider: GatedProvider, request: PictureRequest = REQUEST) -> None:
    """Have the picture made."""
    provider.gate.set()
    await begin(services, request)


async def failed(services: MemoryServices, provider: GatedProvider) -> None:
    """Have the picture refused."""
    provider.failures.append(ProviderFailed(FailureClass.MODERATED, "no"))
    with pytest.raises(Exception, match="refused"):
        await made(services, provider)


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
    looks = 0
    state_of = services.ledger.generation_state

    async def counting(key: str) -> Any:
        nonlocal looks
        looks += 1
        return await state_of(key)

    monkeypatch.setattr(services.ledger, "generation_state", counting)
    await wish_for(services)
    streams = [desk.open(EVENTS, x_forwarded_for=str(number)) for number in range(20)]
    for stream in streams:
        await stream.told(1)
    assert (looks, len(services.watches)) == (1, 1)
    await streams[0].go()
    assert len(services.watches) == 1
    await made(services, provider)
    for stream in streams[1:]:
        await asyncio.wait_for(stream.task, 10)
        assert stream.events[-1].data["url"] == PICTURE
    assert looks < 5
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


async def test_comments_go_on_while_the_ledger_is_away_and_the_event_follows(
    services: MemoryServices, provider: GatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(services, StreamTimes(comment=0.02, send=60, life=60, tick=0.005))
    await wish_for(services)
    stream = desk.open(EVENTS)
    await stream.told(1)

    async def away(key: str) -> Any:
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
    async def away(key: str) -> Any:
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


async def test_a_memoji_is_told_to_those_alone_who_asked_for_it(
    desk: Desk, services: MemoryServices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    request = memoji_request({"familyType": "mother"}, provider=services.provider_of("memoji"))
    await wish_for(services, request)
    await services.ledger.begin_request(ALICE, request.generation_key, None)
    url = f"/api/generations/{request.generation_key}/events"
    token = await make_token(services.ledger, request.generation_key)
    of_another = await make_token(services.ledger, KEY)
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
    token = await make_token(services.ledger, KEY)
    await clock.advance(599)
    stream = desk.open(f"{EVENTS}?token={token}")
    await stream.told(1)
    await stream.go()
    await clock.advance(2)
    refused = await desk.whole(f"{EVENTS}?token={token}")
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "invalid_event_token")
    await services.request_meter.close()


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
    await wish_for(services)
    stream = await desk.whole(EVENTS)
    assert stream.is_complete
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
