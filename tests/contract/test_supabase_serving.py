"""The coordinator over Supabase Storage's STAND-IN: what is paid for survives what the store does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.disk_cache import FOLDER, CachedStore, DiskCache
from copperplate.adapters.supabase import storage as supabase_storage
from copperplate.adapters.supabase.http import make_client
from copperplate.adapters.supabase.storage import SupabaseStore
from copperplate.errors import GenerationFailed, StoreMisconfigured, StoreUnavailable
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.model import Condition, FailureClass, Needs, Outcome
from copperplate.serving.renditions import Renditions
from tests.support.coordinator_harness import BUCKET, Workbench
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from tests.standin.shelf import Shelf
    from tests.standin.supabase import Supabase

LEASE = Timings().lease


class Desk(Workbench):
    """A workbench whose pictures lie in Supabase Storage."""

    def __init__(self, project: Supabase, client: httpx.AsyncClient) -> None:
        super().__init__(has_jobs=True)
        store = SupabaseStore(client, project.url, project.secret_key, BUCKET)
        self.kinds = {"image": Kind(provider=self.provider, store=store)}

    def keep_copies(self, folder: Path) -> None:
        """From now on pictures are kept in a folder, too."""
        kind = self.kinds["image"]
        self.kinds["image"] = Kind(
            provider=kind.provider, store=CachedStore(kind.store, DiskCache(folder, 256_000_000))
        )

    def server(self) -> Renditions:
        return Renditions(
            coordinator=self.process(), ledger=self.ledger, kinds=self.kinds, images=self.images, clock=self.clock
        )


@pytest.fixture
async def desk(storage: Supabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(supabase_storage, "PAUSE_SECONDS", 0.01)
    async with make_client() as client:
        yield Desk(storage, client)


async def test_first_read_stores_the_original_and_its_rendition_and_the_second_reads_one_object(
    desk: Desk, shelf: Shelf
) -> None:
    first, body = await desk.server().read(picture_request())
    again, same = await desk.server().read(picture_request())
    assert (first.outcome, again.outcome, body) == (Outcome.GENERATED, Outcome.HIT, same)
    # The first of a process also tries the store with a small object, before it pays.
    assert (shelf.asked["put"], shelf.asked["get"], shelf.asked["bucket"]) == (3, 1, 1)


async def test_completed_picture_whose_objects_are_gone_is_reopened_once_and_made_again(
    desk: Desk, shelf: Shelf
) -> None:
    await desk.server().read(picture_request())
    shelf.buckets[BUCKET].objects.clear()
    found, body = await desk.server().read(picture_request())
    assert (found.outcome, body) == (Outcome.GENERATED, b"picture of job-2 as jpg")
    assert desk.provider.submits == 2
    assert found.entry.path in shelf.buckets[BUCKET].objects
    # A store that goes on losing pictures must not go on costing money.
    shelf.buckets[BUCKET].objects.clear()
    with pytest.raises(GenerationFailed) as failed:
        await desk.server().read(picture_request())
    assert failed.value.failure_class is FailureClass.MISSING_OBJECT
    assert desk.provider.submits == 2


@pytest.mark.parametrize("trouble", ["truncated", "html_answer", "http_404", "http_503"])
async def test_picture_that_cannot_be_read_for_a_while_is_neither_dropped_nor_paid_again(
    desk: Desk, shelf: Shelf, trouble: str
) -> None:
    made, body = await desk.server().read(picture_request())
    shelf.tell("get", trouble)
    with pytest.raises(StoreUnavailable):
        await desk.server().read(picture_request())
    shelf.tell("get", "ok")
    again, same = await desk.server().read(picture_request())
    assert (again.entry, same) == (made.entry, body)
    assert desk.provider.submits == 1


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
    desk: Desk, shelf: Shelf, fault: str, named: str
) -> None:
    server = desk.server()
    await server.read(picture_request("before"))
    shelf.tell("put", fault)
    with pytest.raises(StoreMisconfigured, match=named):
        await server.read(picture_request())
    # From now on everybody knows: nothing is paid, and the store is named.
    with pytest.raises(GenerationFailed) as resting:
        await desk.server().read(picture_request("another"))
    assert (resting.value.failure_class, resting.value.http_status) == (FailureClass.STORE, 503)
    with pytest.raises(StoreMisconfigured, match=named):
        await server.read(picture_request())
    shelf.tell("put", "ok")
    _, body = await server.read(picture_request())
    assert body == b"picture of job-2 as jpg"
    assert (desk.provider.submits, desk.provider.collects) == (2, 2), "one a picture"
    await desk.server().read(picture_request("another"))
    assert desk.provider.submits == 3, "the rest is over with the first picture that is stored"


@pytest.mark.parametrize("fault", ["says=NoSuchBucket", "says=DatabaseReadOnly", "http_503"])
async def test_process_that_begins_beside_a_store_that_refuses_pays_for_nothing(
    desk: Desk, shelf: Shelf, fault: str
) -> None:
    shelf.tell("put", fault)
    for number in range(4):
        with pytest.raises((StoreMisconfigured, StoreUnavailable, GenerationFailed)):
            await desk.server().read(picture_request(f"prompt {number}"))
        await desk.clock.advance(16)  # the rest is over, and one caller tries
    assert desk.provider.submits == 0
    shelf.tell("put", "ok")
    for number in range(4):
        await desk.server().read(picture_request(f"prompt {number}"))
    assert desk.provider.submits == 4


async def test_upload_that_broke_off_behind_the_leader_is_adopted_by_the_next(desk: Desk, shelf: Shelf) -> None:
    # The bytes arrive, no answer ever does, and the leader's process ends.
    store = desk.kinds["image"].store
    await store.check(Needs())  # it is proven: the first object that comes is the picture
    store._seconds = 0.5  # type: ignore[attr-defined]
    shelf.tell("put", "late=3")
    process = desk.process()
    task = await desk.begin(process, picture_request())
    while not shelf.buckets[BUCKET].objects:
        await desk.clock.settle()
    await desk.kill(process)
    task.cancel()
    shelf.tell("put", "ok")
    await desk.clock.advance((LEASE + timedelta(seconds=1)).total_seconds())
    _, body = await desk.server().read(picture_request())
    assert body == b"picture of job-1 as jpg"
    assert (desk.provider.submits, desk.provider.collects) == (1, 1)


async def test_a_copy_on_disk_that_was_altered_costs_one_read_and_no_entry(
    desk: Desk, shelf: Shelf, tmp_path: Path
) -> None:
    desk.keep_copies(tmp_path)
    made, body = await desk.server().read(picture_request())
    assert shelf.asked["get"] == 0
    for copy in (tmp_path / FOLDER).iterdir():
        copy.write_bytes(copy.read_bytes()[:-1])
    again, same = await desk.server().read(picture_request())
    assert (again.entry, same, shelf.asked["get"]) == (made.entry, body, 1)
    assert desk.provider.submits == 1


async def test_a_picture_declared_wrong_is_made_anew_although_its_copy_is_on_disk(desk: Desk, tmp_path: Path) -> None:
    desk.keep_copies(tmp_path)
    made, _ = await desk.server().read(picture_request())
    await desk.ledger.purge(Condition(key=picture_request().generation_key), 1, is_dry_run=False)
    assert list((tmp_path / FOLDER).iterdir())
    again, body = await desk.server().read(picture_request())
    assert (again.outcome, body) == (Outcome.GENERATED, b"picture of job-2 as jpg")
    assert again.entry.path != made.entry.path
