"""A store that takes no pictures: nothing more is paid for, and what was paid for is kept until it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import GenerationFailed, ObjectConflict, StoreMisconfigured, StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.generation import unstored_pictures
from copperplate.generation.pending_uploads import PendingUploads, StoredUploads
from copperplate.generation.unstored_pictures import UnstoredPicture, UnstoredPictures
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Needs


@pytest.fixture
def harness() -> CoordinatorHarness:
    """A provider without jobs, as OpenAI is: its picture exists in this process alone."""
    return CoordinatorHarness()


async def refuse(
    harness: CoordinatorHarness, process: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """One picture is paid for, and from then on the bucket is gone."""

    async def gone(*_: object, **__: object) -> None:
        raise StoreMisconfigured("bucket generated-images does not exist")

    monkeypatch.setattr(harness.store, "put", gone)
    with pytest.raises(StoreMisconfigured):
        await process.find(picture_request(), GENERATE)
    return monkeypatch


async def test_what_the_store_would_refuse_is_not_paid_for(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Needs] = []

    async def check(needs: Needs) -> None:
        asked.append(needs)
        raise StoreMisconfigured("bucket generated-images is private")

    monkeypatch.setattr(harness.store, "check", check)
    with pytest.raises(StoreMisconfigured, match="is private"):
        await harness.process().find(picture_request(), GENERATE)
    # Everybody knows for some seconds, and the store is named; afterwards one caller looks again.
    with pytest.raises(GenerationFailed) as resting:
        await harness.process().find(picture_request("another"), GENERATE)
    assert resting.value.failure_class is FailureClass.STORE
    assert len(asked) == 1
    assert asked[0].min_bytes > 0
    await harness.clock.advance(16)
    with pytest.raises(StoreMisconfigured):
        await harness.process().find(picture_request("another"), GENERATE)
    monkeypatch.undo()
    await harness.clock.advance(16)
    for prompt in ("another", "a third"):
        assert (await harness.process().find(picture_request(prompt), GENERATE)).outcome is Outcome.GENERATED, (
            "nothing is remembered"
        )
    assert harness.provider.submits == 2


async def test_paid_picture_is_stored_when_the_store_is_mended_though_nobody_asks(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, other = harness.process(), harness.process()
    await refuse(harness, process, monkeypatch)
    waiting = await harness.begin(other, picture_request())  # another process waits: it cannot have the picture
    await harness.clock.advance(25)
    assert not waiting.done()
    with pytest.raises(GenerationFailed):
        await harness.process().find(
            picture_request("another"), GENERATE
        )  # the rest goes on for as long as the store refuses
    monkeypatch.undo()
    await harness.clock.advance(9)
    assert (await waiting).outcome in (Outcome.HIT, Outcome.COALESCED)
    await harness.process().find(picture_request("another"), GENERATE)
    assert harness.provider.submits == 2


async def test_store_that_refuses_is_tried_at_growing_distances(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await refuse(harness, harness.process(), monkeypatch)
    tries: list[float] = []

    async def gone(path: str, *_: object, **__: object) -> None:
        if path.endswith(".png"):
            tries.append(harness.clock.monotonic())
        raise StoreMisconfigured("bucket generated-images does not exist")

    monkeypatch.setattr(harness.store, "put", gone)
    await harness.clock.advance(41)
    # From the failure on: each pause half as long again, and none above eight seconds.
    assert tries == [2, 5, 9.5, 16.25, 24.25, 32.25, 40.25]


async def test_next_ask_of_the_same_process_stores_it_at_once_or_is_told_why_not(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = harness.process()
    await refuse(harness, process, monkeypatch)
    with pytest.raises(StoreMisconfigured, match="does not exist"):
        await process.find(picture_request(), GENERATE)
    monkeypatch.undo()
    found = await process.find(picture_request(), GENERATE)
    assert (found.outcome, found.body) == (Outcome.GENERATED, b"picture 1 as jpg")
    assert harness.provider.submits == 1


async def test_process_that_was_frozen_for_longer_than_its_lease_still_has_the_bytes(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = harness.process()
    await refuse(harness, process, monkeypatch)
    harness.ledger._generations[picture_request().generation_key].lease_until = harness.clock.monotonic()
    harness.clock._seconds += 60  # nothing of it ran meanwhile, and nothing was renewed
    monkeypatch.undo()
    found = await process.find(picture_request(), GENERATE)
    assert (found.outcome, harness.provider.submits) == (Outcome.GENERATED, 1)


async def test_process_that_ends_gives_the_lease_up_and_the_next_one_pays_once_more(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = harness.process()
    await refuse(harness, process, monkeypatch)
    await process.shut_down(within_seconds=0)
    monkeypatch.undo()
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert harness.provider.submits == 2


async def test_what_does_not_fit_is_said_and_left_to_a_successor(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unstored_pictures, "MAX_BYTES", 3)
    monkeypatch.setattr(harness.store, "put", _gone)
    with caplog.at_level(logging.ERROR), pytest.raises(StoreMisconfigured):
        await harness.process().find(picture_request(), GENERATE)
    assert "there is no room to keep it" in caplog.text
    assert "storage:generated-images takes no pictures, none is asked for" in caplog.text
    assert "fox" not in caplog.text


async def test_forty_pictures_under_way_when_the_store_breaks_are_all_kept(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.provider.seconds = 4
    process = harness.process()
    tasks = [await harness.begin(process, picture_request(f"prompt {number}")) for number in range(40)]
    await harness.clock.advance(2)
    monkeypatch.setattr(harness.store, "put", _gone)
    await harness.clock.advance(3)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in answers} == {StoreMisconfigured}
    monkeypatch.undo()
    await harness.clock.advance(15)
    for number in range(40):
        assert (await process.find(picture_request(f"prompt {number}"), GENERATE)).outcome is Outcome.HIT
    assert harness.provider.submits == 40


async def test_lease_of_what_does_not_fit_is_handed_over(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unstored_pictures, "MAX_BYTES", 3)
    await refuse(harness, harness.process(), monkeypatch)
    monkeypatch.undo()
    await harness.clock.advance(0)
    row = harness.ledger._generations[picture_request().generation_key]
    assert row.lease_until is not None
    assert row.lease_until <= harness.clock.monotonic()


async def test_path_that_is_taken_ends_the_keeping_and_is_said(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = harness.process()
    await refuse(harness, process, monkeypatch)

    async def taken(*_: object, **__: object) -> None:
        raise ObjectConflict("the path is taken")

    monkeypatch.setattr(harness.store, "put", taken)
    await harness.clock.advance(3)
    assert "ObjectConflict" in caplog.text
    monkeypatch.undo()
    await harness.clock.advance(16)
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.GENERATED, (
        "the lease was given up"
    )


async def test_picture_that_is_kept_anew_while_the_old_one_is_stored_stays() -> None:
    clock = FakeClock()
    kept_by = UnstoredPictures(clock)
    stored = asyncio.Event()
    old, new = (PendingUploads(original=upload(number), original_body=b"a") for number in ("old", "new"))
    entry = old.original.as_entry(kind="image", key="k", generation_key="k", is_original=True)
    result = StoredUploads(original=old.original, original_body=b"a").recorded(entry)

    async def finish() -> LookupResult:
        await stored.wait()
        return result

    async def release() -> None:
        pass

    def picture(pending: PendingUploads) -> UnstoredPicture:
        return UnstoredPicture(pending=pending, finish=finish, hold=contextlib.nullcontext, release=release)

    kept_by.add("key", picture(old))
    finishing = asyncio.create_task(kept_by.finish("key"))
    await clock.settle()
    kept_by.add("key", picture(new))
    stored.set()
    assert await finishing == result
    assert kept_by.find("key") == new
    await kept_by.shut_down()


async def test_lease_of_a_picture_that_is_stored_is_renewed_no_longer(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = harness.process()
    await refuse(harness, process, monkeypatch)
    await harness.clock.advance(10.5)  # its own next try is at 16.25, the next heartbeat at 15
    monkeypatch.undo()
    await process.find(picture_request(), GENERATE)
    beats: list[str] = []

    async def heartbeat(key: str, *_: object) -> bool:
        beats.append(key)
        return True

    monkeypatch.setattr(harness.ledger, "heartbeat", heartbeat)
    await harness.clock.advance(30)
    assert beats == []


async def test_callers_that_ask_while_one_tries_are_told_what_it_was_told(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = harness.process()
    await refuse(harness, process, monkeypatch)
    tries = 0

    async def hang(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        await harness.clock.sleep(15)
        raise StoreUnavailable("did not answer in time")

    monkeypatch.setattr(harness.store, "put", hang)
    await harness.clock.advance(2.5)  # it tries by itself
    asked = await harness.begin(process, picture_request())
    await harness.clock.advance(15)
    with pytest.raises(StoreUnavailable):
        await asked
    assert tries == 1, "the original, once: nothing is encoded before that is stored"


async def test_store_that_hangs_is_named_before_callers_stop_waiting(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await harness.clock.sleep(15)
        raise StoreUnavailable("did not answer in time")

    monkeypatch.setattr(harness.store, "put", hang)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(16)
    with pytest.raises(StoreUnavailable):
        await task
    assert harness.provider.submits == 1


async def _gone(*_: object, **__: object) -> None:
    raise StoreMisconfigured("bucket generated-images does not exist")
