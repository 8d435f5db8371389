"""The coordinator over Supabase Storage's STAND-IN: what is paid for survives what the store does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.copy_folder import FOLDER
from copperplate.adapters.disk_tier import DiskTier
from copperplate.adapters.supabase import storage as supabase_storage
from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.supabase.storage import SupabaseStore
from copperplate.errors import GenerationFailed, StoreMisconfigured, StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.feed import Tier
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.model import Condition, Needs, Outcome
from copperplate.serving.renditions import Renditions
from copperplate.testing import GENERATE
from copperplate.tiers.tiers import Tiers
from tests.support.coordinator_harness import BUCKET, CoordinatorHarness
from tests.support.feeds import read_feed
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from copperplate.generation.lookup import LookupResult
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

LEASE = Timings().lease


class ServingHarness(CoordinatorHarness):
    """A coordinator harness whose pictures lie in Supabase Storage."""

    def __init__(self, project: Supabase, client: httpx.AsyncClient) -> None:
        super().__init__(has_jobs=True)
        store = SupabaseStore(client, project.url, project.secret_key, BUCKET)
        self.kinds = {"image": Kind(provider=self.provider, store=store)}

        self.folder: Path | None = None

    def server(self) -> Renditions:
        """One process more; it keeps pictures in `folder`, where there is one."""
        shared = [] if self.folder is None else [DiskTier(self.clock, self.folder, 256_000_000)]
        tiers = Tiers(self.ledger, self.clock, shared=shared)
        return Renditions(
            coordinator=self.process(tiers=tiers),
            ledger=self.ledger,
            kinds=self.kinds,
            images=self.images,
            clock=self.clock,
            tiers=tiers,
        )

    async def read_in_a_new_process(self) -> LookupResult:
        """The picture, by a process that has read the feed, once its copy is written."""
        server = self.server()
        await read_feed(server._tiers.coherence)
        read = await server.read(picture_request(), GENERATE)
        await server._tiers.shut_down(within_seconds=5)
        return read


@pytest.fixture
async def harness(storage: Supabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServingHarness]:
    monkeypatch.setattr(supabase_storage, "PAUSE_SECONDS", 0.01)
    async with make_client() as client:
        yield ServingHarness(storage, client)


async def test_first_read_stores_the_original_and_its_rendition_and_the_second_reads_one_object(
    harness: ServingHarness, storage_state: StorageState
) -> None:
    first = await harness.server().read(picture_request(), GENERATE)
    body = first.body
    again = await harness.server().read(picture_request(), GENERATE)
    same = again.body
    assert (first.outcome, again.outcome, body) == (Outcome.GENERATED, Outcome.HIT, same)
    # The first of a process also tries the store with a small object, before it pays.
    assert (storage_state.asked["put"], storage_state.asked["get"], storage_state.asked["bucket"]) == (4, 1, 1)


async def test_completed_picture_whose_objects_are_gone_is_reopened_once_and_made_again(
    harness: ServingHarness, storage_state: StorageState
) -> None:
    await harness.server().read(picture_request(), GENERATE)
    storage_state.buckets[BUCKET].objects.clear()
    found = await harness.server().read(picture_request(), GENERATE)
    body = found.body
    assert (found.outcome, body) == (Outcome.GENERATED, b"picture of job-2 as jpg")
    assert harness.provider.submits == 2
    assert found.entry.path in storage_state.buckets[BUCKET].objects
    # A store that goes on losing pictures must not go on costing money.
    storage_state.buckets[BUCKET].objects.clear()
    with pytest.raises(GenerationFailed) as failed:
        await harness.server().read(picture_request(), GENERATE)
    assert failed.value.failure_class is FailureClass.MISSING_OBJECT
    assert harness.provider.submits == 2


@pytest.mark.parametrize("trouble", ["truncated", "html_answer", "http_404", "http_503"])
async def test_picture_that_cannot_be_read_for_a_while_is_neither_dropped_nor_paid_again(
    harness: ServingHarness, storage_state: StorageState, trouble: str
) -> None:
    made = await harness.server().read(picture_request(), GENERATE)
    body = made.body
    storage_state.tell("get", trouble)
    with pytest.raises(StoreUnavailable):
        await harness.server().read(picture_request(), GENERATE)
    storage_state.tell("get", "ok")
    again = await harness.server().read(picture_request(), GENERATE)
    same = again.body
    assert (again.entry, same) == (made.entry, body)
    assert harness.provider.submits == 1


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("says=NoSuchBucket", "copperplate migrate"),
        ("says=EntityTooLarge", "size limit"),
        ("says=InvalidMimeType", "image/webp"),
        ("says=AccessDenied", "SUPABASE_SECRET_KEY"),
    ],
)
async def test_setting_that_keeps_a_picture_out_is_named_and_once_mended_costs_no_second_submit(
    harness: ServingHarness, storage_state: StorageState, fault: str, named: str
) -> None:
    server = harness.server()
    await server.read(picture_request("before"), GENERATE)
    storage_state.tell("put", fault)
    with pytest.raises(StoreMisconfigured, match=named):
        await server.read(picture_request(), GENERATE)
    # From now on everybody knows: nothing is paid, and the store is named.
    with pytest.raises(GenerationFailed) as resting:
        await harness.server().read(picture_request("another"), GENERATE)
    assert (resting.value.failure_class, resting.value.http_status) == (FailureClass.STORE, 503)
    with pytest.raises(StoreMisconfigured, match=named):
        await server.read(picture_request(), GENERATE)
    storage_state.tell("put", "ok")
    body = (await server.read(picture_request(), GENERATE)).body
    assert body == b"picture of job-2 as jpg"
    assert (harness.provider.submits, harness.provider.collects) == (2, 2), "one a picture"
    await harness.server().read(picture_request("another"), GENERATE)
    assert harness.provider.submits == 3, "the rest is over with the first picture that is stored"


@pytest.mark.parametrize("fault", ["says=NoSuchBucket", "says=DatabaseReadOnly", "http_503"])
async def test_process_that_begins_beside_a_store_that_refuses_pays_for_nothing(
    harness: ServingHarness, storage_state: StorageState, fault: str
) -> None:
    storage_state.tell("put", fault)
    for number in range(4):
        with pytest.raises((StoreMisconfigured, StoreUnavailable, GenerationFailed)):
            await harness.server().read(picture_request(f"prompt {number}"), GENERATE)
        await harness.clock.advance(16)  # the rest is over, and one caller tries
    assert harness.provider.submits == 0
    storage_state.tell("put", "ok")
    for number in range(4):
        await harness.server().read(picture_request(f"prompt {number}"), GENERATE)
    assert harness.provider.submits == 4


async def test_upload_that_broke_off_behind_the_leader_is_adopted_by_the_next(
    harness: ServingHarness, storage_state: StorageState
) -> None:
    # The bytes arrive, no answer ever does, and the leader's process ends.
    store = harness.kinds["image"].store
    await store.check(Needs())  # it is proven: the first object that comes is the picture
    store._seconds = 0.5  # type: ignore[attr-defined]
    storage_state.tell("put", "late=3")
    process = harness.process()
    task = await harness.begin(process, picture_request())
    while not storage_state.buckets[BUCKET].objects:
        await harness.clock.settle()
    await harness.kill(process)
    task.cancel()
    storage_state.tell("put", "ok")
    await harness.clock.advance((LEASE + timedelta(seconds=1)).total_seconds())
    body = (await harness.server().read(picture_request(), GENERATE)).body
    assert body == b"picture of job-1 as jpg"
    assert (harness.provider.submits, harness.provider.collects) == (1, 1)


async def test_a_copy_on_disk_that_was_altered_costs_one_read_and_no_entry(
    harness: ServingHarness, storage_state: StorageState, tmp_path: Path
) -> None:
    harness.folder = tmp_path
    made = await harness.read_in_a_new_process()
    reads = [await harness.read_in_a_new_process() for _ in range(2)]
    assert [each.tier for each in reads] == [Tier.DISK, Tier.DISK]
    assert storage_state.asked["get"] == 0
    for copy in (tmp_path / FOLDER).iterdir():
        copy.write_bytes(copy.read_bytes()[:-1])
    reads += [await harness.read_in_a_new_process() for _ in range(2)]
    assert [each.tier for each in reads[2:]] == [None, Tier.DISK]
    assert {(each.entry, each.body) for each in (made, *reads)} == {(made.entry, made.body)}
    assert (storage_state.asked["get"], harness.provider.submits) == (1, 1)


async def test_a_picture_declared_wrong_is_made_anew_although_its_copy_is_on_disk(
    harness: ServingHarness, tmp_path: Path
) -> None:
    harness.folder = tmp_path
    made = await harness.read_in_a_new_process()
    await harness.read_in_a_new_process()
    assert list((tmp_path / FOLDER).iterdir())
    await harness.ledger.purge(Condition(key=picture_request().generation_key), 1, is_dry_run=False)
    again = await harness.read_in_a_new_process()
    assert (again.outcome, again.body) == (Outcome.GENERATED, b"picture of job-2 as jpg")
    assert again.entry.path != made.entry.path
