"""Renditions that are stored beside their original: planned, written ahead, and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import GenerationFailed, Misconfigured, StoreMisconfigured
from copperplate.generation import rendition_uploads
from copperplate.generation.kinds import Kind
from copperplate.generation.rendition_plan import plan_renditions
from copperplate.ledger_answers import Hit
from copperplate.model import Outcome, PictureFacts, PictureFormat, Rendition, Size
from copperplate.recipes.display import default_rendition
from copperplate.recipes.image import rendition_key
from copperplate.recipes.memoji import memoji_request
from copperplate.recipes.objects import original_key
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness, PlainImages, _at_once
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import OpenPicture

JPG, WEBP, AVIF = PictureFormat.JPG, PictureFormat.WEBP, PictureFormat.AVIF
NOW = datetime(2026, 11, 30, tzinfo=UTC)
AHEAD_KEY = rendition_key(picture_request().generation_key, default_rendition(WEBP))


def planned(asked: PictureRequest, *ahead: PictureFormat, digest: str = "d", fence: int = 7) -> list[tuple[Any, ...]]:
    plan = plan_renditions(asked, ahead, original_digest=digest, now=NOW, fence=fence)
    return [(each.rendition.format, each.size, each.is_ahead) for each in plan]


def sized(asked: PictureRequest, size: Size) -> PictureRequest:
    """The same picture, smaller."""
    return replace(asked, rendition=replace(asked.rendition, size=size), rendition_key="a" * 64)


class CountingImages(PlainImages):
    """Counts what is opened and encoded; `broken` formats fail, `facts` replaces what verification finds."""

    def __init__(self) -> None:
        self.opened = 0
        self.encoded: list[str] = []
        self.broken: set[PictureFormat] = set()
        self.hanging: set[PictureFormat] = set()
        self.facts: dict[str, Any] = {}

    async def verify(
        self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]] = _at_once
    ) -> PictureFacts:
        return replace(await super().verify(body, covers=covers, begin=begin), **self.facts)

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str | None, is_urgent: bool = True) -> AsyncIterator[OpenPicture]:
        self.opened += 1
        async with super().open(original, model=model, is_urgent=is_urgent) as picture:
            yield picture

    async def encode(self, original: bytes, rendition: Rendition) -> bytes:
        self.encoded.append(rendition.format)
        if rendition.format in self.hanging:
            await asyncio.Event().wait()
        if rendition.format in self.broken:
            raise KeyError("a bug")
        return await super().encode(original, rendition)


class Harness(CoordinatorHarness):
    """A coordinator harness that counts encodings, and looks entries up."""

    def __init__(self) -> None:
        super().__init__()
        self.artist = self.images = CountingImages()

    async def kept(self, asked: PictureRequest, key: str) -> Entry | None:
        """The entry of that key itself."""
        found = await self.ledger.peek(asked.generation_key, key)
        return found.entry if isinstance(found, Hit) and found.entry.key == key else None


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_plan_holds_what_is_asked_for_first_and_each_form_once() -> None:
    canvas, small = Size(width=64, height=64), Size(width=32, height=16)
    webp = picture_request(picture_format=WEBP)
    assert planned(picture_request(), WEBP) == [(JPG, canvas, False), (WEBP, canvas, True)]
    assert planned(webp, WEBP, AVIF) == [(WEBP, canvas, False), (AVIF, canvas, True)]
    assert planned(sized(webp, small), WEBP) == [(WEBP, small, False), (WEBP, canvas, True)]
    assert planned(picture_request()) == [(JPG, canvas, False)]
    assert planned(replace(webp, rendition_key=original_key(webp.generation_key)), WEBP) == [(WEBP, canvas, True)]


def test_paths_are_told_apart_by_original_key_and_attempt() -> None:
    plans = [
        plan_renditions(picture_request(), (WEBP,), original_digest=digest, now=NOW, fence=fence)
        for digest, fence in (("d", 7), ("d", 8), ("e", 7))
    ]
    paths = [each.path for plan in plans for each in plan]
    assert len(set(paths)) == 6
    assert [path.rpartition(".")[2] for path in paths[:2]] == ["jpg", "webp"]
    assert paths[0].startswith("2026/11/")


async def test_miss_stores_the_rendition_asked_for_and_the_webp_from_one_open_picture(harness: Harness) -> None:
    asked = sized(picture_request(), Size(width=32, height=32))
    found = await harness.process().find(asked, GENERATE)
    assert (found.outcome, found.body) == (Outcome.GENERATED, b"picture 1 as jpg 32x32")
    webp = await harness.kept(asked, AHEAD_KEY)
    assert webp is not None
    assert (webp.format, webp.width) == ("webp", 64)
    assert await harness.store.get(webp.path) == b"picture 1 as webp"
    assert (harness.artist.opened, harness.artist.encoded, len(harness.store._objects)) == (1, ["jpg", "webp"], 3)
    await harness.clock.advance(3_700)
    assert await harness.ledger.claim_discarded(10) == [], "all three are taken back"


async def test_original_is_put_while_its_renditions_are_encoded(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = asyncio.Barrier(3)
    put, encode = harness.store.put, harness.images.encode

    async def put_together(path: str, body: bytes, *, media_type: str) -> None:
        if path.endswith(".png"):
            await everything.wait()  # one after the other would wait for ever
        await put(path, body, media_type=media_type)

    async def encode_together(original: bytes, rendition: Rendition) -> bytes:
        await everything.wait()
        return await encode(original, rendition)

    monkeypatch.setattr(harness.store, "put", put_together)
    monkeypatch.setattr(harness.images, "encode", encode_together)
    async with asyncio.timeout(30):
        assert (await harness.process().find(picture_request(), GENERATE)).body == b"picture 1 as jpg"


@pytest.mark.parametrize(
    ("broken", "left"), [({WEBP}, {"jpg", "png"}), ({JPG}, {"webp", "png"}), ({JPG, WEBP}, {"png"})]
)
async def test_rendition_that_cannot_be_encoded_leaves_the_others_and_the_original(
    harness: Harness, caplog: pytest.LogCaptureFixture, broken: set[PictureFormat], left: set[str]
) -> None:
    harness.artist.broken = broken
    found = await harness.process().find(picture_request(), GENERATE)
    assert {path.rpartition(".")[2] for path in harness.store._objects} == left
    assert (found.entry.format, found.entry.is_original) == (("png", True) if JPG in broken else ("jpg", False))
    assert caplog.text.count("a rendition is not stored beside its original") == len(broken)
    assert "sunset" not in caplog.text
    await harness.clock.advance(3_700)
    assert len(await harness.ledger.claim_discarded(10)) == len(broken)


async def test_what_nobody_asked_for_holds_nobody_up(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendition_uploads, "AHEAD_SECONDS", 0.05)
    harness.artist.hanging = {WEBP}
    async with asyncio.timeout(30):
        found = await harness.process().find(picture_request(), GENERATE)
    assert found.body == b"picture 1 as jpg"
    assert await harness.kept(picture_request(), AHEAD_KEY) is None


async def test_original_that_the_store_refuses_ends_the_encoding(harness: Harness) -> None:
    harness.artist.hanging = {JPG, WEBP}

    async def refuse(*_: object, **__: object) -> None:
        raise StoreMisconfigured("no bucket")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(harness.store, "put", refuse)
        with pytest.raises(StoreMisconfigured):
            await harness.process().find(picture_request(), GENERATE)


@pytest.mark.parametrize("ends_by", ["the store's return", "the end of the process"])
async def test_held_picture_encodes_its_renditions_once_more_when_its_original_is_stored(
    harness: Harness, ends_by: str
) -> None:
    harness.store.failing = 1_000
    process = harness.process()
    task = await harness.begin(process, picture_request())
    await harness.clock.advance(7)
    assert task.done()
    task.exception()
    await harness.clock.advance(30)  # several tries, none of which encodes
    assert harness.artist.encoded == ["jpg", "webp"]
    if ends_by == "the end of the process":
        await process.shut_down(within_seconds=0)
        assert harness.store._objects == {}
        return
    harness.store.failing = 0
    await harness.clock.advance(9)
    assert harness.artist.encoded == ["jpg", "webp"] * 2
    assert await harness.kept(picture_request(), AHEAD_KEY) is not None
    assert harness.provider.submits == 1


async def test_cancelled_while_it_encodes_the_picture_is_held_with_its_plan(harness: Harness) -> None:
    harness.artist.hanging = {WEBP}
    process = harness.process()
    task = await harness.begin(process, picture_request())
    harness.artist.hanging = set()
    flight = next(iter(process._flights._flights.values()))
    flight.task.cancel()
    await harness.clock.settle()
    assert task.done()
    await harness.clock.advance(5)
    assert await harness.kept(picture_request(), AHEAD_KEY) is not None
    assert harness.provider.submits == 1


async def test_successor_that_finds_an_intent_encodes_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its predecessor may have died of encoding; with the original alone it gets through."""
    harness.provider.has_jobs = True
    first = harness.process()
    with monkeypatch.context() as patched:
        patched.setattr(harness.store, "put", lambda *_, **__: asyncio.Event().wait())
        await harness.begin(first, picture_request())
        await harness.kill(first)
    await harness.clock.advance(21)
    harness.artist.encoded.clear()
    found = await harness.process().find(picture_request(), GENERATE)
    assert (found.entry.is_original, found.body, harness.artist.encoded) == (True, b"picture of job-1", [])
    assert harness.provider.submits == 1


@pytest.mark.parametrize(
    ("facts", "body"),
    [
        ({}, b"picture 1"),
        ({"is_upright": False}, b"picture 1 as png"),
        ({"format": "webp"}, b"picture 1 as png"),
        ({"size": Size(width=1025, height=1024)}, b"picture 1 as png"),
    ],
)
async def test_memoji_keeps_the_bytes_of_its_provider_where_people_can_be_shown_them(
    harness: Harness, facts: dict[str, Any], body: bytes
) -> None:
    harness.artist.facts = facts
    harness.kinds["memoji"] = Kind(provider=harness.provider, store=harness.store, max_bytes=100)
    asked = memoji_request({}, provider=harness.provider)
    found = await harness.process().find(asked, GENERATE)
    assert (found.body, found.entry.is_original, found.entry.format) == (body, True, "png")
    webp = await harness.kept(asked, rendition_key(asked.generation_key, default_rendition(WEBP)))
    assert webp is not None
    assert (webp.format, webp.width) == ("webp", 1024)


@pytest.mark.parametrize(("max_bytes", "encoded"), [(9, []), (8, ["png"])])
async def test_memoji_of_too_many_bytes_is_encoded_and_fails_where_that_does_not_help(
    harness: Harness, max_bytes: int, encoded: list[str]
) -> None:
    harness.ahead = ()
    harness.kinds["memoji"] = Kind(provider=harness.provider, store=harness.store, max_bytes=max_bytes)
    asked = memoji_request({}, provider=harness.provider)
    with contextlib.nullcontext() if not encoded else pytest.raises(GenerationFailed):
        await harness.process().find(asked, GENERATE)
    assert harness.artist.encoded == encoded


@pytest.mark.parametrize(
    ("raw", "formats"), [("", (WEBP,)), ("off", ()), ("avif", (AVIF,)), ("webp, avif,webp", (WEBP, AVIF))]
)
def test_formats_made_ahead_are_a_setting(raw: str, formats: tuple[PictureFormat, ...]) -> None:
    assert Settings.from_env({"COPPERPLATE_RENDER_AHEAD": raw}).render_ahead == formats


@pytest.mark.parametrize("raw", ["jpg", "png", "WEBP", "webp;avif", "off,webp", ","])
def test_format_that_is_not_made_ahead_is_refused(raw: str) -> None:
    with pytest.raises(Misconfigured, match="COPPERPLATE_RENDER_AHEAD must be webp, avif"):
        Settings.from_env({"COPPERPLATE_RENDER_AHEAD": raw})


async def test_off_stores_the_rendition_asked_for_alone(harness: Harness) -> None:
    harness.ahead = Settings.from_env({"COPPERPLATE_RENDER_AHEAD": "off"}).render_ahead
    await harness.process().find(picture_request(), GENERATE)
    assert harness.artist.encoded == ["jpg"]
