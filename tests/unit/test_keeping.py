"""A store that takes no pictures: nothing more is paid for, and what was paid for is kept until it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import GenerationFailed, ObjectConflict, StoreMisconfigured, StoreUnavailable
from copperplate.generation import keeping
from copperplate.generation.keeping import Keeping, Kept
from copperplate.model import FailureClass, Outcome
from tests.support.coordinator_harness import Workbench
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import Needs


@pytest.fixture
def bench() -> Workbench:
    """A provider without jobs, as OpenAI is: its picture exists in this process alone."""
    return Workbench()


async def refuse(bench: Workbench, process: Coordinator, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One picture is paid for, and from then on the bucket is gone."""

    async def gone(*_: object, **__: object) -> None:
        raise StoreMisconfigured("bucket generated-images does not exist")

    monkeypatch.setattr(bench.store, "put", gone)
    with pytest.raises(StoreMisconfigured):
        await process.find(picture_request())
    return monkeypatch


async def test_what_the_store_would_refuse_is_not_paid_for(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Needs] = []

    async def check(needs: Needs) -> None:
        asked.append(needs)
        raise StoreMisconfigured("bucket generated-images is private")

    monkeypatch.setattr(bench.store, "check", check)
    with pytest.raises(StoreMisconfigured, match="is private"):
        await bench.process().find(picture_request())
    # Everybody knows for some seconds, and the store is named; afterwards one caller looks again.
    with pytest.raises(GenerationFailed) as resting:
        await bench.process().find(picture_request("another"))
    assert resting.value.failure_class is FailureClass.STORE
    assert len(asked) == 1
    assert asked[0].min_bytes > 0
    await bench.clock.advance(16)
    with pytest.raises(StoreMisconfigured):
        await bench.process().find(picture_request("another"))
    monkeypatch.undo()
    await bench.clock.advance(16)
    for prompt in ("another", "a third"):
        assert (await bench.process().find(picture_request(prompt))).outcome is Outcome.GENERATED, (
            "nothing is remembered"
        )
    assert bench.provider.submits == 2


async def test_paid_picture_is_stored_when_the_store_is_mended_though_nobody_asks(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, other = bench.process(), bench.process()
    await refuse(bench, process, monkeypatch)
    waiting = await bench.begin(other, picture_request())  # another process waits: it cannot have the picture
    await bench.clock.advance(25)
    assert not waiting.done()
    with pytest.raises(GenerationFailed):
        await bench.process().find(picture_request("another"))  # the rest goes on for as long as the store refuses
    monkeypatch.undo()
    await bench.clock.advance(9)
    assert (await waiting).outcome in (Outcome.HIT, Outcome.COALESCED)
    await bench.process().find(picture_request("another"))
    assert bench.provider.submits == 2


async def test_next_ask_of_the_same_process_stores_it_at_once_or_is_told_why_not(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = bench.process()
    await refuse(bench, process, monkeypatch)
    with pytest.raises(StoreMisconfigured, match="does not exist"):
        await process.find(picture_request())
    monkeypatch.undo()
    found = await process.find(picture_request())
    assert (found.outcome, found.body) == (Outcome.GENERATED, b"picture 1 as jpg")
    assert bench.provider.submits == 1


async def test_process_that_was_frozen_for_longer_than_its_lease_still_has_the_bytes(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = bench.process()
    await refuse(bench, process, monkeypatch)
    bench.ledger._generations[picture_request().generation_key].lease_until = bench.clock.monotonic()
    bench.clock._seconds += 60  # nothing of it ran meanwhile, and nothing was renewed
    monkeypatch.undo()
    found = await process.find(picture_request())
    assert (found.outcome, bench.provider.submits) == (Outcome.GENERATED, 1)


async def test_process_that_ends_gives_the_lease_up_and_the_next_one_pays_once_more(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = bench.process()
    await refuse(bench, process, monkeypatch)
    await process.drain(within_seconds=0)
    monkeypatch.undo()
    assert (await bench.process().find(picture_request())).outcome is Outcome.GENERATED
    assert bench.provider.submits == 2


async def test_what_does_not_fit_is_said_and_left_to_a_successor(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeping, "MAX_BYTES", 3)
    monkeypatch.setattr(bench.store, "put", _gone)
    with caplog.at_level(logging.ERROR), pytest.raises(StoreMisconfigured):
        await bench.process().find(picture_request())
    assert "there is no room to keep it" in caplog.text
    assert "storage:generated-images takes no pictures, none is asked for" in caplog.text
    assert "fox" not in caplog.text


async def test_forty_pictures_under_way_when_the_store_breaks_are_all_kept(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.provider.seconds = 4
    process = bench.process()
    tasks = [await bench.begin(process, picture_request(f"prompt {number}")) for number in range(40)]
    await bench.clock.advance(2)
    monkeypatch.setattr(bench.store, "put", _gone)
    await bench.clock.advance(3)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in answers} == {StoreMisconfigured}
    monkeypatch.undo()
    await bench.clock.advance(15)
    for number in range(40):
        assert (await process.find(picture_request(f"prompt {number}"))).outcome is Outcome.HIT
    assert bench.provider.submits == 40


async def test_lease_of_what_does_not_fit_is_handed_over(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_BYTES", 3)
    await refuse(bench, bench.process(), monkeypatch)
    monkeypatch.undo()
    await bench.clock.advance(0)
    row = bench.ledger._generations[picture_request().generation_key]
    assert row.lease_until is not None
    assert row.lease_until <= bench.clock.monotonic()


async def test_path_that_is_taken_ends_the_keeping_and_is_said(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = bench.process()
    await refuse(bench, process, monkeypatch)

    async def taken(*_: object, **__: object) -> None:
        raise ObjectConflict("the path is taken")

    monkeypatch.setattr(bench.store, "put", taken)
    await bench.clock.advance(3)
    assert "ObjectConflict" in caplog.text
    monkeypatch.undo()
    await bench.clock.advance(16)
    assert (await bench.process().find(picture_request())).outcome is Outcome.GENERATED, "the lease was given up"


async def test_picture_that_is_kept_anew_while_the_old_one_is_stored_stays() -> None:
    clock = FakeClock()
    kept_by: Keeping[str, str] = Keeping(clock)
    stored = asyncio.Event()

    async def finish() -> str:
        await stored.wait()
        return "stored"

    async def release() -> None:
        pass

    def picture(name: str) -> Kept[str, str]:
        return Kept(pending=name, size_bytes=1, finish=finish, hold=contextlib.nullcontext, release=release)

    kept_by.keep("key", picture("old"))
    finishing = asyncio.create_task(kept_by.finish("key"))
    await clock.settle()
    kept_by.keep("key", picture("new"))
    stored.set()
    assert await finishing == "stored"
    assert kept_by.find("key") == "new"
    await kept_by.drain()


async def test_callers_that_ask_while_one_tries_are_told_what_it_was_told(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = bench.process()
    await refuse(bench, process, monkeypatch)
    tries = 0

    async def hang(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        await bench.clock.sleep(15)
        raise StoreUnavailable("did not answer in time")

    monkeypatch.setattr(bench.store, "put", hang)
    await bench.clock.advance(2.5)  # it tries by itself
    asked = await bench.begin(process, picture_request())
    await bench.clock.advance(15)
    with pytest.raises(StoreUnavailable):
        await asked
    assert tries == 2, "original and rendition, once"


async def test_store_that_hangs_is_named_before_callers_stop_waiting(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await bench.clock.sleep(15)
        raise StoreUnavailable("did not answer in time")

    monkeypatch.setattr(bench.store, "put", hang)
    task = await bench.begin(bench.process(), picture_request())
    await bench.clock.advance(16)
    with pytest.raises(StoreUnavailable):
        await task
    assert bench.provider.submits == 1


async def _gone(*_: object, **__: object) -> None:
    raise StoreMisconfigured("bucket generated-images does not exist")
