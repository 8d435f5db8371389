"""Streams of a batch: a snapshot for who comes, each change once, and everything at the end."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable
from copperplate.http import event_sources, followers
from copperplate.http.event_sources import BatchSource
from copperplate.http.schemas.batches import BatchOut, MemberOut
from copperplate.recipes.memoji import memoji_request
from copperplate.serving.watches import Pace
from copperplate.testing import GENERATE
from copperplate.wishes import NewBatch, Settlement, State, WishStatus
from copperplate.work.promises import new_wish
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request
from tests.support.streaming import ALLOWED, LEASE
from tests.support.streams import Desk, events_in
from tests.unit.test_http_memoji import ALICE, BOB, of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from copperplate.model import PictureRequest
    from copperplate.wishes import Member

ECHO = {"thread_id": "t1", "style": "oil", "title": "Ünïcode\u2028\n"}
OWNER = f"user:{ALICE}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchSource, "pace", Pace(first_seconds=0.01, factor=1, max_seconds=0.01))


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    provider = GatedProvider(FakeClock())
    provider.gate.set()
    made = memory_services(environ=ALLOWED, provider=provider)
    yield made
    await made.shut_down(within_seconds=5)
    await made.request_meter.close()


@pytest.fixture
def desk(services: MemoryServices) -> Desk:
    return Desk(services)


async def keep(services: MemoryServices, *requests: PictureRequest) -> str:
    """A batch of these, the first of them with something to be told again; its id."""
    wishes = tuple(
        new_wish(request, GENERATE, owner=OWNER, paths=(f"/64x64.jpg?text={number}",), echo={} if number else ECHO)
        for number, request in enumerate(requests)
    )
    return str(await services.ledger.create_batch(NewBatch(owner=OWNER, wishes=wishes, thread_id="whole")))


def pictures(count: int) -> list[PictureRequest]:
    return [picture_request(f"picture {number}") for number in range(count)]


async def end_one(services: MemoryServices, status: WishStatus, code: str | None = None) -> None:
    """Take one wish and end it."""
    [wish] = await services.ledger.take_wishes(in_flight=1, held_for=LEASE)
    await services.ledger.settle_wish(wish.id, Settlement(status=status, code=code))


def source_of(services: MemoryServices, batch: str) -> BatchSource:
    """What a watch of this batch looks through."""
    return BatchSource(
        UUID(batch),
        services.ledger,
        tell=lambda batch: BatchOut.of(batch, events="").model_dump(mode="json"),
        tell_member=lambda member: MemberOut.of(member, base="http://pictures.test").model_dump(mode="json"),
    )


async def test_each_change_is_told_once_and_everything_at_the_end(desk: Desk, services: MemoryServices) -> None:
    batch = await keep(services, *pictures(2))
    stream = desk.open(f"/api/batches/{batch}/events")
    [snapshot] = await stream.told(1)
    assert (snapshot.name, snapshot.data["id"], snapshot.data["thread_id"]) == ("progress", batch, "whole")
    assert [member["status"] for member in snapshot.data["members"]] == ["pending", "pending"]
    await end_one(services, WishStatus.COMPLETED)
    _, change = await stream.told(2)
    assert change.name == "concept_progress"
    assert change.data["counts"] == {"pending": 1, "generating": 0, "completed": 1, "failed": 0, "canceled": 0}
    member = change.data["member"]
    assert {name: member[name] for name in ECHO} == ECHO
    assert (member["position"], member["status"]) == (0, "completed")
    assert member["url"] == "http://pictures.test/64x64.jpg?text=0"
    await end_one(services, WishStatus.FAILED, "moderated")
    await asyncio.wait_for(stream.task, 10)
    *_, refused, last = stream.events
    assert (refused.name, refused.data["member"]["error"]["code"]) == ("concept_progress", "moderated")
    assert (last.name, last.data["status"], last.data["page"], last.data["pages"]) == (
        *("concepts_generated", "completed"),
        *(1, 1),
    )
    assert [member["status"] for member in last.data["members"]] == ["completed", "failed"]
    assert last.id.startswith("final-")
    assert (await desk.whole(f"/api/batches/{batch}/events", last_event_id=last.id)).status == 204
    again = await desk.whole(f"/api/batches/{batch}/events", last_event_id=change.id)
    assert [event.name for event in again.events] == ["concepts_generated"]
    assert desk.is_empty()


async def test_members_come_by_pages_and_only_the_last_id_is_final(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sources, "PAGE", 2)
    batch = await keep(services, *pictures(5))
    url = f"/api/batches/{batch}/events"
    stream = desk.open(url)
    pages = await stream.told(3)
    assert [[member["position"] for member in page.data["members"]] for page in pages] == [[0, 1], [2, 3], [4]]
    for _ in range(5):
        await end_one(services, WishStatus.COMPLETED)
    await asyncio.wait_for(stream.task, 10)
    assert [event.name for event in stream.events[3:]] == ["concept_progress"] * 5 + ["concepts_generated"] * 3
    last = stream.events[-3:]
    assert [event.id.startswith("final-") for event in last] == [False, False, True]
    assert [event.data["page"] for event in last] == [1, 2, 3]
    # One that was cut off between the pages is told all of them again.
    again = await desk.whole(url, last_event_id=last[1].id)
    assert [event.id for event in again.events] == [event.id for event in last]


async def test_only_what_may_have_changed_is_read_again(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sources, "PAGE", 2)
    batch = await keep(services, *pictures(9))
    read: list[int] = []
    members_of = services.ledger.batch_members

    async def counting(batch: UUID, *, after: int = -1, limit: int = 100) -> Sequence[Member]:
        read.append(after)
        return await members_of(batch, after=after, limit=limit)

    monkeypatch.setattr(services.ledger, "batch_members", counting)
    stream = desk.open(f"/api/batches/{batch}/events")
    await stream.told(5)
    # For the watch, and for this follower's snapshot.
    assert read == [-1, 1, 3, 5, 7] * 2
    read.clear()
    for number in range(3):
        await end_one(services, WishStatus.COMPLETED)
        await stream.told(6 + number)
    assert read == [-1, 0, 1]
    read.clear()
    await asyncio.sleep(0.1)
    assert read == []
    await stream.go()


async def test_who_fell_behind_is_told_a_snapshot_in_place_of_the_changes(desk: Desk, services: MemoryServices) -> None:
    batch = await keep(services, *pictures(4))
    slow, quick = (desk.open(f"/api/batches/{batch}/events") for _ in range(2))
    await asyncio.gather(slow.told(1), quick.told(1))
    slow.may_read.clear()
    for number in range(3):
        await end_one(services, WishStatus.COMPLETED)
        await quick.told(2 + number)
    slow.may_read.set()
    told = await slow.told(3)
    assert [event.name for event in told] == ["progress", "concept_progress", "progress"]
    assert [member["status"] for member in told[-1].data["members"]] == ["completed"] * 3 + ["pending"]
    await asyncio.gather(slow.go(), quick.go())
    assert desk.is_empty()


async def test_a_batch_that_is_canceled_ends(desk: Desk, services: MemoryServices) -> None:
    batch = await keep(services, *pictures(3))
    stream = desk.open(f"/api/batches/{batch}/events")
    await stream.told(1)
    await services.ledger.cancel_batch(UUID(batch))
    await asyncio.wait_for(stream.task, 10)
    last = stream.events[-1]
    assert (last.name, last.data["status"], last.data["counts"]["canceled"]) == ("concepts_generated", "canceled", 3)


async def test_a_batch_with_a_memoji_is_told_to_its_owner_alone(desk: Desk, services: MemoryServices) -> None:
    memoji = memoji_request({"familyType": "mother"}, provider=services.provider_of("memoji"))
    batch = await keep(services, picture_request(), memoji)
    url = f"/api/batches/{batch}/events"
    token = await services.event_tokens.hand_out(batch)
    for mine in (desk.open(url, **of(ALICE)), desk.open(f"{url}?token={token}")):
        await mine.told(1)
        await mine.go()
    for strange in (await desk.whole(url), await desk.whole(url, **of(BOB))):
        assert strange.status == 404
    other = await keep(services, memoji)
    refused = await desk.whole(f"/api/batches/{other}/events?token={token}")
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "invalid_event_token")
    assert desk.is_empty()


async def test_counts_are_those_of_the_members_that_are_told(desk: Desk, services: MemoryServices) -> None:
    batch = await keep(services, *pictures(2))
    find_batch = services.ledger.find_batch

    async def then_more(name: UUID) -> Any:
        """The batch, and one more member ends before the members are read."""
        found = await find_batch(name)
        if found is not None and found.counts[State.PENDING] == 2:
            await end_one(services, WishStatus.COMPLETED)
        return found

    services.ledger.find_batch = then_more  # type: ignore[assignment, method-assign]
    stream = desk.open(f"/api/batches/{batch}/events")
    [snapshot] = await stream.told(1)
    assert snapshot.data["counts"]["completed"] == 1
    assert [member["status"] for member in snapshot.data["members"]] == ["completed", "pending"]
    await stream.go()


async def test_the_end_of_a_member_is_looked_at_when_it_is_hinted(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchSource, "pace", Pace(first_seconds=60, factor=1, max_seconds=60))
    batch = await keep(services, *pictures(1))
    stream = desk.open(f"/api/batches/{batch}/events")
    await stream.told(1)
    await asyncio.sleep(0.01)  # until the watcher rests
    await end_one(services, WishStatus.COMPLETED)
    await asyncio.wait_for(stream.task, 10)


async def test_what_is_too_much_to_hold_is_told_as_a_snapshot(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sources, "MAX_CHANGE_BYTES", 700)  # a member has about 400
    batch = await keep(services, *pictures(4))
    stream = desk.open(f"/api/batches/{batch}/events")
    await stream.told(1)
    for wish in await services.ledger.take_wishes(in_flight=3, held_for=LEASE):
        await services.ledger.settle_wish(wish.id, Settlement(status=WishStatus.COMPLETED))
    _, snapshot = await stream.told(2)
    assert snapshot.name == "progress"
    assert [member["status"] for member in snapshot.data["members"]] == ["completed"] * 3 + ["pending"]
    await end_one(services, WishStatus.COMPLETED)
    await asyncio.wait_for(stream.task, 10)
    assert [event.name for event in stream.events[2:]] == ["concept_progress", "concepts_generated"]


async def test_pages_that_are_read_later_tell_members_as_they_stood(services: MemoryServices) -> None:
    batch = await keep(services, *pictures(2))
    view = await source_of(services, batch).look()
    assert view is not None
    assert view.read_pages is not None
    await end_one(services, WishStatus.COMPLETED)
    [page] = [page async for page in view.read_pages()]
    [snapshot] = events_in(page)
    assert snapshot.data["counts"]["pending"] == 2
    assert [member["status"] for member in snapshot.data["members"]] == ["pending", "pending"]


async def test_a_watch_keeps_little_of_each_member(services: MemoryServices) -> None:
    batch = await keep(services, *pictures(300))
    source = source_of(services, batch)
    tracemalloc.start()
    try:
        view = await source.look()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert view is not None
    assert held / 300 < 100  # the JSON of a member has more than 400 bytes


async def test_an_outage_amid_the_pages_ends_the_stream_for_its_client_to_come_back(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await keep(services, *pictures(2))
    watching = desk.open(f"/api/batches/{batch}/events")
    await watching.told(1)

    async def is_away(*_: Any, **__: Any) -> Sequence[Member]:
        raise LedgerUnavailable

    monkeypatch.setattr(services.ledger, "batch_members", is_away)
    late = await desk.whole(f"/api/batches/{batch}/events")
    assert (late.is_complete, late.events) == (True, [])
    assert not watching.task.done()
    await watching.go()
    assert desk.is_empty()


async def test_a_batch_is_idle_while_nobody_is_at_work_on_a_member(services: MemoryServices) -> None:
    source = source_of(services, await keep(services, *pictures(2)))
    assert (await source.look()).is_idle  # type: ignore[union-attr]
    await services.ledger.take_wishes(in_flight=1, held_for=LEASE)
    assert not (await source.look()).is_idle  # type: ignore[union-attr]


async def test_pages_that_nobody_takes_are_bounded(
    desk: Desk, services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/api/batches/{await keep(services, *pictures(2))}/events"
    monkeypatch.setattr(followers, "MAX_HELD_BYTES", 1_000)  # a page has about 1,200
    with desk.followers.holding(900):
        refused = await desk.whole(url)
    assert (refused.is_complete, refused.events) == (True, [])
    back = desk.open(url)
    await back.told(1)
    await back.go()
    assert desk.followers._held_bytes == 0
