"""A picture that is taken down while a process works on it, holds it, or makes another format of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.store import MemoryStore
from copperplate.denials import TakenDown
from copperplate.errors import NotGenerated, StoreMisconfigured, StoreUnavailable
from copperplate.generation.lookup import LOOK_ONLY
from copperplate.model import Outcome
from copperplate.operations.takedown import take_down
from copperplate.ports.cdns import CdnScope
from copperplate.testing import GENERATE
from tests.support.cdns import NotedCdn, cdn_purges
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = picture_request().generation_key


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness()


async def test_callers_and_followers_of_every_process_are_told(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 10
    leader, other = harness.process(), harness.process()
    leading = await harness.begin(leader, picture_request())
    following = await harness.begin(other, picture_request())
    await harness.clock.advance(1)
    await harness.ledger.take_down(KEY)
    await harness.clock.advance(1)
    with pytest.raises(TakenDown):  # at once: it was waiting for others
        following.result()
    with pytest.raises(TakenDown):
        await harness.process().find(picture_request(), LOOK_ONLY)
    await harness.clock.advance(30)
    with pytest.raises(TakenDown):
        leading.result()
    assert harness.provider.submits == 1
    assert not harness.store._objects


async def test_a_picture_held_for_a_broken_store_is_forgotten(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise StoreMisconfigured("bucket generated-images does not exist")

    process = harness.process()
    with monkeypatch.context() as broken:
        broken.setattr(harness.store, "put", refuse)
        with pytest.raises(StoreMisconfigured):
            await process.find(picture_request(), GENERATE)
        assert process._uploader._unstored.find(KEY) is not None
        taken = await harness.ledger.take_down(KEY)
    with pytest.raises(TakenDown):
        await process.find(picture_request(), GENERATE)
    assert process._uploader._unstored.find(KEY) is None
    # Tried once more before it heard of the takedown, and known to the ledger, which removes it.
    await harness.clock.advance(3_700)
    claimed = {path for _, _, path in await harness.ledger.claim_discarded(10)}
    assert set(harness.store._objects) <= claimed
    assert {path for _, path in taken.objects} <= claimed
    await harness.ledger.lift_takedown(KEY)
    assert (await process.find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert harness.provider.submits == 2


async def test_it_is_made_anew_once_the_takedown_is_lifted(harness: CoordinatorHarness) -> None:
    process = harness.process()
    await process.find(picture_request(), GENERATE)
    await harness.ledger.take_down(KEY)
    for _ in range(3):
        with pytest.raises(TakenDown):
            await process.find(picture_request(), GENERATE)
    await harness.ledger.lift_takedown(KEY)
    with pytest.raises(NotGenerated):
        await process.find(picture_request(), LOOK_ONLY)
    assert (await process.find(picture_request(), GENERATE)).outcome is Outcome.GENERATED


async def test_objects_go_at_once_and_cdns_are_told_once_more_where_it_is_taken_down_again(
    harness: CoordinatorHarness,
) -> None:
    await harness.process().find(picture_request(), GENERATE)
    stored = {("generated-images", path) for path in harness.store._objects}
    cdns = NotedCdn(CdnScope.TAG), NotedCdn(CdnScope.OBJECT)
    for _ in range(2):
        await take_down(harness.ledger, KEY, stores={"generated-images": harness.store})
        assert not harness.store._objects
        await cdn_purges(harness.ledger, *cdns).run()
    for cdn in cdns:
        for copies in cdn.told:
            assert (copies.generation_keys, set(copies.objects)) == ((KEY,), stored)
        assert len(cdn.told) == 2


async def test_a_store_that_fails_does_not_undo_a_takedown(
    harness: CoordinatorHarness, caplog: pytest.LogCaptureFixture
) -> None:
    class Down(MemoryStore):
        async def remove(self, paths: Sequence[str]) -> frozenset[str]:
            raise StoreUnavailable("no answer")

    await harness.process().find(picture_request(), GENERATE)
    await take_down(harness.ledger, KEY, stores={"generated-images": Down("generated-images")})
    assert "left to the next cleanup" in caplog.text
    with pytest.raises(TakenDown):
        await harness.process().find(picture_request(), GENERATE)
