"""What a miss asks of the ledger and the store, and what is left when half of it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import StoreUnavailable
from copperplate.ledger_answers import Hit
from copperplate.model import Outcome, PictureFormat
from copperplate.recipes.objects import sha256_hex
from copperplate.serving.renditions import Renditions
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import Entry, OriginalUpload, RenditionUpload

WEBP, AVIF = (picture_request(picture_format=each) for each in (PictureFormat.WEBP, PictureFormat.AVIF))
BACKGROUND = ("heartbeat", "sweep", "peek", "record_usage", "hints")


def serving_of(harness: CoordinatorHarness, process: Coordinator | None = None) -> Renditions:
    """A server process."""
    return Renditions(
        coordinator=process or harness.process(),
        ledger=harness.ledger,
        kinds=harness.kinds,
        images=harness.images,
        clock=harness.clock,
    )


def listen(harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the ledger's calls from here on; those a request does not wait for are left out."""
    calls: list[str] = []

    def heard(name: str) -> Any:
        original = getattr(harness.ledger, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return await original(*arguments, **named)

        return call

    for name in vars(type(harness.ledger)):
        if not name.startswith("_") and name not in BACKGROUND:
            monkeypatch.setattr(harness.ledger, name, heard(name))
    return calls


@pytest.mark.parametrize(
    ("has_jobs", "expected"),
    [
        (True, ["acquire", "begin_submit", "note_request", "intend_upload", "complete"]),
        (False, ["acquire", "begin_submit", "intend_upload", "complete"]),
    ],
)
async def test_miss_is_five_calls_of_the_ledger_and_a_hit_is_one(
    has_jobs: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = CoordinatorHarness(has_jobs=has_jobs)
    serving = serving_of(harness)
    calls = listen(harness, monkeypatch)
    await serving.read(picture_request(), GENERATE)
    assert calls == expected
    calls.clear()
    await serving.read(picture_request(), GENERATE)
    assert calls == ["acquire"]


async def test_another_format_of_a_kept_original_is_three_calls_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    serving = serving_of(harness)
    await serving.read(picture_request(), GENERATE)
    calls = listen(harness, monkeypatch)
    await serving.read(AVIF, GENERATE)
    assert calls == ["acquire", "intend_rendition", "record_rendition"]


async def test_adopted_original_gets_its_rendition_from_the_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    first = harness.process()
    with monkeypatch.context() as patched:
        patched.setattr(harness.ledger, "complete", never)
        await harness.begin(first, picture_request())
        await harness.kill(first)
    await harness.clock.advance(21)
    calls = listen(harness, monkeypatch)
    found = await serving_of(harness).read(picture_request(), GENERATE)
    body = found.body
    assert (found.outcome, body) == (Outcome.GENERATED, b"picture 1 as jpg")
    assert calls == ["acquire", "complete", "intend_rendition", "record_rendition"]
    assert harness.provider.submits == 1


async def test_both_objects_are_stored_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    both = asyncio.Barrier(2)
    put = harness.store.put

    async def together(path: str, body: bytes, *, media_type: str) -> None:
        await both.wait()  # one after the other would wait for ever
        await put(path, body, media_type=media_type)

    monkeypatch.setattr(harness.store, "put", together)
    async with asyncio.timeout(30):
        assert (await serving_of(harness).read(picture_request(), GENERATE)).body == b"picture 1 as jpg"


async def test_bug_in_the_encoder_leaves_the_original_and_costs_nothing_once_it_is_mended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = CoordinatorHarness()

    async def broken(*_: object) -> bytes:
        raise KeyError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(harness.images, "encode", broken)
        with pytest.raises(KeyError):
            await serving_of(harness).read(picture_request(), GENERATE)
    found = await serving_of(harness).read(picture_request(), GENERATE)
    body = found.body
    assert (found.outcome, body) == (Outcome.HIT, b"picture 1 as jpg")
    assert harness.provider.submits == 1


async def test_rendition_that_alone_cannot_be_stored_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    put = harness.store.put

    async def only_originals(path: str, body: bytes, *, media_type: str) -> None:
        if path.endswith(".jpg"):
            raise StoreUnavailable("no room for jpegs")
        await put(path, body, media_type=media_type)

    with monkeypatch.context() as patched:
        patched.setattr(harness.store, "put", only_originals)
        user_requests = asyncio.create_task(serving_of(harness).read(picture_request(), GENERATE))
        await harness.clock.settle()
        await harness.clock.advance(15)
        # Encoded once more, for this caller alone.
        assert (await user_requests).body == b"picture 1 as jpg"
        kept = await harness.ledger.peek(picture_request().generation_key, picture_request().rendition_key)
        assert isinstance(kept, Hit)
        assert kept.entry.is_original
    found = await serving_of(harness).read(picture_request(), GENERATE)
    body = found.body
    assert (found.outcome, body) == (Outcome.HIT, b"picture 1 as jpg")
    assert harness.provider.submits == 1


async def test_original_that_cannot_be_stored_is_not_completed_though_its_rendition_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = CoordinatorHarness(has_jobs=True)
    put = harness.store.put

    async def only_renditions(path: str, body: bytes, *, media_type: str) -> None:
        if path.endswith(".png"):
            raise StoreUnavailable("no room for originals")
        await put(path, body, media_type=media_type)

    with monkeypatch.context() as patched:
        patched.setattr(harness.store, "put", only_renditions)
        process = harness.process()
        user_requests = asyncio.create_task(serving_of(harness, process).read(picture_request(), GENERATE))
        await harness.clock.settle()
        await harness.clock.advance(15)
        with pytest.raises(StoreUnavailable):
            await user_requests
        await harness.kill(process)  # and with it what it kept
    await harness.clock.advance(21)
    found = await serving_of(harness).read(picture_request(), GENERATE)
    body = found.body
    assert (found.outcome, body) == (Outcome.GENERATED, b"picture of job-1 as jpg")
    assert harness.provider.submits == 1
    # The first leader's renditions were never completed: they go, and what it was about to store.
    await harness.clock.advance(3_700)
    assert len(await harness.ledger.claim_discarded(10)) == 3


async def test_bytes_of_whoever_recorded_the_rendition_first_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    complete = harness.ledger.complete
    theirs = b"the same picture, encoded by another release"

    async def beaten(
        key: str, fence: int, upload: OriginalUpload, *, url: str | None, renditions: Sequence[RenditionUpload]
    ) -> Entry | None:
        """The rendition was refused, and the answer lost; before it is asked for again, somebody else records one."""
        original = await complete(key, fence, upload, url=url)
        assert original is not None
        digest = sha256_hex(theirs)
        first = replace(renditions[0], path=f"2026/01/{digest}.jpg", digest=digest, size_bytes=len(theirs))
        await harness.store.put(first.path, theirs, media_type="image/jpeg")
        await harness.ledger.intend_rendition(original, first)
        await harness.ledger.record_rendition(original, first)
        return await complete(key, fence, upload, url=url, renditions=renditions)

    monkeypatch.setattr(harness.ledger, "complete", beaten)
    found = await serving_of(harness).read(picture_request(), GENERATE)
    body = found.body
    assert (found.outcome, body) == (Outcome.GENERATED, theirs)
