"""Cleaning up: bounded, repeatable, safe beside itself, and never of what is needed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable, StoreUnavailable
from copperplate.model import Outcome
from copperplate.operations import cleanup
from copperplate.operations.cleanup import clean
from copperplate.testing import GENERATE
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.model import Page
    from copperplate.ports.maintenance import CleanupCounts

DAY = 86_400.0


async def filled(prompts: int) -> tuple[FakeClock, MemoryServices]:
    clock = FakeClock()
    services = memory_services(clock=clock, environ={"COPPERPLATE_RENDER_AHEAD": "off"})
    for number in range(prompts):
        await services.renditions.read(picture_request(f"picture {number}"), GENERATE)
    return clock, services


async def test_what_is_used_stays() -> None:
    clock, services = await filled(3)
    await clock.advance(29 * DAY)
    cleaned = await clean(services.ledger, [services.store], clock=clock)
    assert (cleaned.pictures["image"], cleaned.generations, cleaned.objects, cleaned.is_complete) == (0, 0, 0, True)


async def test_what_is_old_goes_with_its_objects_after_an_hour() -> None:
    clock, services = await filled(3)
    await clock.advance(31 * DAY)
    first = await clean(services.ledger, [services.store], clock=clock)
    assert (first.pictures["image"], first.generations, first.objects) == (3, 3, 0)
    await clock.advance(3_601)
    second = await clean(services.ledger, [services.store], clock=clock)
    assert (second.pictures["image"], second.generations, second.objects, second.is_complete) == (0, 0, 6, True)
    assert services.store._objects == {}


async def test_runs_beside_each_other_count_nothing_twice() -> None:
    clock, services = await filled(5)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store], clock=clock)
    await clock.advance(3_601)
    runs = await asyncio.gather(*(clean(services.ledger, [services.store], clock=clock) for _ in range(5)))
    assert sum(run.objects for run in runs) == 10
    assert services.store._objects == {}


async def test_a_run_is_bounded_and_says_so() -> None:
    clock, services = await filled(2)
    await clock.advance(31 * DAY)
    cleaned = await clean(services.ledger, [services.store], clock=clock, within=timedelta(0))
    assert cleaned.pictures["image"] == 2
    assert not cleaned.is_complete


async def test_a_store_that_is_away_loses_no_row(caplog: pytest.LogCaptureFixture) -> None:
    clock, services = await filled(1)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store], clock=clock)
    await clock.advance(3_601)
    remove = services.store.remove
    services.store.remove = _away  # type: ignore[method-assign]
    cleaned = await clean(services.ledger, [services.store], clock=clock)
    assert (cleaned.objects, cleaned.is_complete) == (0, False)
    assert "cleanup: store_unavailable: the store is down" in caplog.text
    services.store.remove = remove  # type: ignore[method-assign]
    await clock.advance(301)  # the claim ran out
    assert (await clean(services.ledger, [services.store], clock=clock)).objects == 2


async def _away(paths: Sequence[str]) -> frozenset[str]:
    raise StoreUnavailable("the store is down")


async def test_objects_of_a_bucket_we_do_not_hold_are_left_alone() -> None:
    clock, services = await filled(1)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store], clock=clock)
    await clock.advance(3_601)
    cleaned = await clean(services.ledger, [], clock=clock)
    assert (cleaned.objects, cleaned.is_complete) == (0, False)
    assert len(services.store._objects) == 2


async def test_the_age_can_be_chosen() -> None:
    clock, services = await filled(1)
    await clock.advance(2 * DAY)
    assert (await clean(services.ledger, [services.store], clock=clock, keep=timedelta(days=1))).pictures["image"] == 1


# --- orphans ---------------------------------------------------------------------------------------


ORPHANS = [f"{month}/{number:064x}.png" for month in ("2025/12", "2026/07") for number in range(3)]


async def with_orphans(services: MemoryServices) -> None:
    for path in ORPHANS:
        await services.store.put(path, b"nobody knows me", media_type="image/png")


async def test_objects_that_no_row_names_go_an_hour_after_they_were_found() -> None:
    clock, services = await filled(2)
    await with_orphans(services)
    await clock.advance(DAY + 1)
    found = await clean(services.ledger, [services.store], clock=clock)
    assert (found.orphans, found.objects, found.is_complete) == (6, 0, True)
    await clock.advance(3_601)
    gone = await clean(services.ledger, [services.store], clock=clock)
    assert (gone.orphans, gone.objects) == (0, 6)
    assert len(services.store._objects) == 4
    for number in range(2):
        assert (await services.renditions.read(picture_request(f"picture {number}"), GENERATE)).outcome is Outcome.HIT


async def test_young_objects_are_nobodys_orphans() -> None:
    clock, services = await filled(0)
    await with_orphans(services)
    await clock.advance(DAY - 1)
    assert (await clean(services.ledger, [services.store], clock=clock)).orphans == 0


async def test_listing_goes_on_where_the_last_run_ran_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "LISTED", 2)
    clock, services = await filled(0)
    await with_orphans(services)
    await clock.advance(DAY + 1)
    found = []
    for _ in range(4):
        run = await clean(services.ledger, [services.store], clock=clock, within=timedelta(0))
        found.append((run.orphans, run.is_complete))
        await clock.advance(61)
    assert found == [(2, False), (1, False), (2, False), (1, False)]
    assert (await clean(services.ledger, [services.store], clock=clock)).is_complete


async def test_one_backlog_does_not_hold_up_another() -> None:
    clock, services = await filled(3)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store], clock=clock)
    await clock.advance(3_601)
    await services.renditions.read(picture_request("another"), GENERATE)
    await clock.advance(31 * DAY)
    run = await clean(services.ledger, [services.store], clock=clock, within=timedelta(0))
    assert (run.pictures["image"], run.objects, run.is_complete) == (1, 6, False)


async def test_store_that_cannot_be_listed_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    clock, services = await filled(1)
    await clock.advance(31 * DAY)
    services.store.months = _dark  # type: ignore[method-assign]
    run = await clean(services.ledger, [services.store], clock=clock)
    assert (run.pictures["image"], run.orphans, run.is_complete) == (1, 0, False)
    assert "cleanup: store_unavailable: the store cannot be listed" in caplog.text


async def test_what_is_no_object_of_ours_is_counted_said_and_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, services = await filled(1)
    await with_orphans(services)
    await clock.advance(DAY + 1)
    listed = services.store.list_month

    async def list_month(month: str, *, offset: int, limit: int) -> Page:
        return replace(await listed(month, offset=offset, limit=limit), odd=2)

    monkeypatch.setattr(services.store, "list_month", list_month)
    run = await clean(services.ledger, [services.store], clock=clock)
    assert (run.odd, run.orphans, run.is_complete) == (6, 6, True)
    assert "2 of what lies in generated-images/2025/12 is no object of ours" in caplog.text


async def _dark() -> Sequence[str]:
    raise StoreUnavailable("the store cannot be listed")


async def test_task_that_the_ledger_is_too_slow_for_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, services = await filled(3)
    clean_up = services.ledger.cleanup_entries

    async def take_too_long(kind: str, limit: int, **options: Any) -> CleanupCounts:
        if kind == "image":
            raise LedgerUnavailable("the database took too long")
        return await clean_up(kind, limit, **options)

    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store], clock=clock)
    await clock.advance(3_601)
    monkeypatch.setattr(services.ledger, "cleanup_entries", take_too_long)
    cleaned = await clean(services.ledger, [services.store], clock=clock)
    assert (cleaned.objects, cleaned.is_complete) == (6, False)
    assert caplog.text.count("took too long") == 1

    async def sweep_too_long(_: int) -> int:
        raise LedgerUnavailable("the database took too long")

    monkeypatch.setattr(services.ledger, "sweep", sweep_too_long)
    with pytest.raises(LedgerUnavailable):
        await clean(services.ledger, [services.store], clock=clock)
