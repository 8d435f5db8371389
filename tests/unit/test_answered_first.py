"""Renditions are answered as soon as they are encoded, and kept behind the answer; older ones are made again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import InvalidDisplay, LedgerUnavailable, StillGenerating, StoreUnavailable, TooManyWaiters
from copperplate.ledger_answers import Hit
from copperplate.model import Outcome, PictureFormat, Rendition, Size
from copperplate.recipes.display import QUALITIES, WIDTHS
from copperplate.recipes.image import image_request
from copperplate.serving import open_originals, rendition_keeper
from copperplate.single_flight import call_scope
from copperplate.testing import GENERATE
from tests.support.pictures import MODEL, picture_request
from tests.support.serving_harness import ServingHarness

if TYPE_CHECKING:
    from copperplate.model import Entry, PictureRequest, RenditionUpload

PNG = picture_request(picture_format=PictureFormat.PNG)
WEBP = picture_request(picture_format=PictureFormat.WEBP)
WEBP_BODY = b"picture 1 as webp"


def sized(picture_format: PictureFormat, width: int, quality: int | None = None) -> PictureRequest:
    """A square rendition of the picture."""
    form = Rendition(format=picture_format, quality=quality, size=Size(width=width, height=width))
    return image_request(
        prompt="a beautiful sunset", width=64, height=64, format=picture_format, model=MODEL, rendition=form
    )


@pytest.fixture
async def harness() -> ServingHarness:
    """A process that has the original and the jpg kept."""
    harness = ServingHarness()
    await harness.serving.read(picture_request(), GENERATE)
    await harness.serving.shut_down(within_seconds=1)
    harness.artist.encodings = 0
    return harness


async def kept(harness: ServingHarness, asked: PictureRequest) -> Entry | None:
    """The entry of the very rendition."""
    result = await harness.ledger.peek(asked.generation_key, asked.rendition_key)
    return result.entry if isinstance(result, Hit) and result.entry.key == asked.rendition_key else None


async def test_it_is_answered_before_it_is_stored_and_shared_until_it_is_kept(harness: ServingHarness) -> None:
    harness.objects.put_gate = asyncio.Event()
    first = await harness.serving.read(WEBP, GENERATE)
    again = await harness.serving.read(WEBP, GENERATE)
    looked = await harness.serving.find(WEBP, GENERATE)
    assert first.body == again.body == WEBP_BODY
    assert first.entry == again.entry == looked.entry
    assert await kept(harness, WEBP) is None
    harness.objects.put_gate.set()
    await harness.serving.shut_down(within_seconds=1)
    assert await kept(harness, WEBP) == first.entry
    assert (await harness.serving.read(WEBP, GENERATE)).body == WEBP_BODY
    assert harness.artist.encodings == 1


@pytest.mark.parametrize("failing", ["intend_rendition", "put", "record_rendition"])
async def test_a_rendition_that_cannot_be_kept_is_answered_and_logged_once(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("down") if failing == "put" else LedgerUnavailable

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(harness.objects if failing == "put" else harness.ledger, failing, fail)
        answers = await asyncio.gather(*(harness.serving.read(WEBP, GENERATE) for _ in range(20)))
        await harness.serving.shut_down(within_seconds=1)
    assert {each.body for each in answers} == {WEBP_BODY}
    assert len([line for line in caplog.messages if "is not kept" in line]) == 1
    assert await kept(harness, WEBP) is None
    assert (await harness.serving.read(WEBP, GENERATE)).body == WEBP_BODY
    await harness.serving.shut_down(within_seconds=1)
    assert await kept(harness, WEBP) is not None


async def test_the_process_that_records_first_counts_and_the_others_object_is_discarded(
    harness: ServingHarness,
) -> None:
    other = harness.server(harness.process())
    harness.objects.put_gate = asyncio.Event()
    ours, theirs = await asyncio.gather(*(each.read(WEBP, GENERATE) for each in (harness.serving, other)))
    harness.objects.put_gate.set()
    await other.shut_down(within_seconds=1)
    await harness.serving.shut_down(within_seconds=1)
    entry = await kept(harness, WEBP)
    assert entry is not None
    assert harness.artist.encodings == 2
    assert entry.path == ours.entry.path
    assert theirs.entry.path in harness.ledger._discarded
    assert entry.path not in harness.ledger._discarded


async def test_a_form_that_waited_for_its_turn_is_looked_up_again_before_it_is_encoded(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    ours, theirs = harness.server(harness.process()), harness.server(harness.process())
    gate = harness.artist.gate = asyncio.Event()
    working = asyncio.create_task(ours.read(sized(PictureFormat.WEBP, 16), GENERATE))
    await harness.clock.settle()
    waiting = asyncio.create_task(ours.read(WEBP, GENERATE))
    await harness.clock.settle()
    harness.artist.gate = None
    await theirs.read(WEBP, GENERATE)
    await theirs.shut_down(within_seconds=1)
    gate.set()
    assert (await waiting).body == WEBP_BODY
    await working
    assert harness.artist.encodings == 2


async def test_an_original_that_is_replaced_meanwhile_keeps_no_rendition_of_the_old_one(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = harness.ledger.record_rendition
    original = await harness.original(WEBP)

    async def replaced(_: Entry, ours: RenditionUpload) -> Entry | None:
        await harness.ledger.report_missing(original)
        return await record(original, ours)

    monkeypatch.setattr(harness.ledger, "record_rendition", replaced)
    found = await harness.serving.read(WEBP, GENERATE)
    await harness.serving.shut_down(within_seconds=1)
    assert found.body == WEBP_BODY  # of the picture that was looked up
    assert found.entry.path in harness.ledger._discarded
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 2 as webp"


async def test_a_call_stays_open_until_its_rendition_is_kept(harness: ServingHarness) -> None:
    harness.objects.put_gate = asyncio.Event()
    with call_scope() as call:
        await harness.serving.read(WEBP, GENERATE)
    finishing = asyncio.create_task(harness.serving.finish(call, within_seconds=5))
    await harness.clock.settle()
    assert not finishing.done()
    harness.objects.put_gate.set()
    await finishing
    assert await kept(harness, WEBP) is not None


async def test_what_is_late_at_the_end_of_a_call_is_made_anew_by_whoever_asks(harness: ServingHarness) -> None:
    harness.objects.put_gate = asyncio.Event()
    with call_scope() as call:
        await harness.serving.read(WEBP, GENERATE)
    await harness.serving.finish(call, within_seconds=0)
    harness.objects.put_gate = None
    assert (await harness.serving.read(WEBP, GENERATE)).body == WEBP_BODY
    assert harness.artist.encodings == 2


async def test_where_only_an_address_is_answered_it_is_kept_before(harness: ServingHarness) -> None:
    harness.objects.public_url = lambda path: f"https://objects.test/{path}"  # type: ignore[method-assign]
    harness.objects.put_gate = asyncio.Event()
    early = await harness.serving.find(WEBP, GENERATE)
    reading = asyncio.create_task(harness.serving.read(WEBP, GENERATE, at_most_bytes=1, found=early))
    await harness.clock.settle()
    assert not reading.done()
    harness.objects.put_gate.set()
    found = await reading
    assert found.body is None
    assert found.entry == await kept(harness, WEBP)


async def test_an_address_of_what_is_not_kept_is_never_handed_out(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.objects.public_url = lambda path: f"https://objects.test/{path}"  # type: ignore[method-assign]

    async def full(*_: object) -> bool:
        return False

    with monkeypatch.context() as patched:
        patched.setattr(harness.ledger, "intend_rendition", full)
        with pytest.raises(InvalidDisplay):
            await harness.serving.read(WEBP, GENERATE, at_most_bytes=1)
    harness.objects.failing = 1
    with pytest.raises(StoreUnavailable):
        await harness.serving.read(WEBP, GENERATE, at_most_bytes=1)
    harness.objects.put_gate = asyncio.Event()
    reading = asyncio.create_task(harness.serving.read(WEBP, GENERATE, at_most_bytes=1))
    await harness.clock.settle()
    await harness.serving.shut_down(within_seconds=0)
    with pytest.raises(StillGenerating):
        await reading


async def test_more_than_may_wait_to_be_stored_is_answered_and_not_kept(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendition_keeper, "MAX_BYTES", len(WEBP_BODY))
    harness.objects.put_gate = asyncio.Event()
    await harness.serving.read(WEBP, GENERATE)
    small = sized(PictureFormat.WEBP, 16)
    assert (await harness.serving.read(small, GENERATE)).body is not None
    harness.objects.put_gate.set()
    await harness.serving.shut_down(within_seconds=1)
    assert await kept(harness, WEBP) is not None
    assert await kept(harness, small) is None


async def test_more_forms_than_are_kept_are_answered_all_the_same(harness: ServingHarness) -> None:
    asked = [
        sized(picture_format, width, quality)
        for picture_format in (PictureFormat.JPG, PictureFormat.WEBP)
        for width in WIDTHS[:4]
        for quality in (*QUALITIES, 10, 20, 30, 50)
    ]
    for each in asked:
        assert (await harness.serving.read(each, GENERATE)).body is not None
    await harness.serving.shut_down(within_seconds=1)
    there = [each for each in asked if await kept(harness, each) is not None]
    assert len(there) == 48
    assert (await harness.serving.read(WEBP, GENERATE)).body == WEBP_BODY
    await harness.serving.shut_down(within_seconds=1)
    assert await kept(harness, WEBP) is not None  # the whole canvas always has a place


async def test_a_whole_srcset_is_fetched_once_and_opened_once(harness: ServingHarness) -> None:
    asked = [
        sized(picture_format, width)
        for picture_format in (PictureFormat.JPG, PictureFormat.WEBP, PictureFormat.AVIF)
        for width in (16, 32, 48)
    ]
    harness.artist.opened = 0
    answers = await asyncio.gather(*(harness.serving.read(each, GENERATE) for each in asked for _ in range(50)))
    assert len({each.body for each in answers}) == len(asked)
    assert (harness.objects.gets["png"], harness.artist.opened, harness.artist.encodings) == (1, 1, len(asked))
    assert harness.provider.submits == 1


async def test_a_caller_that_goes_leaves_the_line_and_a_second_one_does_not_notice(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    serving = harness.server(harness.process())
    harness.artist.gate = asyncio.Event()
    first, gone, shared = (sized(PictureFormat.WEBP, width) for width in (16, 32, 48))
    tasks = [asyncio.create_task(serving.read(each, GENERATE)) for each in (first, gone, shared, shared)]
    await harness.clock.settle()
    tasks[1].cancel()
    tasks[2].cancel()
    await harness.clock.settle()
    harness.artist.gate.set()
    assert (await tasks[3]).body == b"picture 1 as webp 48x48"
    assert harness.artist.encodings == 2


class TestOlderEncoders:
    """Entries of an `encoder_version` below that of today."""

    @pytest.fixture
    async def harness(self, harness: ServingHarness) -> ServingHarness:
        """A harness that keeps the WebP of yesterday's encoders."""
        await harness.serving.read(WEBP, GENERATE)
        await harness.serving.shut_down(within_seconds=1)
        harness.artist.encoder_version += 1

        async def better(original: bytes, rendition: Rendition) -> bytes:
            harness.artist.encodings += 1
            return original + f" as better {rendition.format}".encode()

        harness.artist.encode = better  # type: ignore[method-assign]
        harness.artist.encodings = 0
        return harness

    async def test_is_made_again_and_replaced(self, harness: ServingHarness) -> None:
        old = await kept(harness, WEBP)
        assert old is not None
        answers = await asyncio.gather(*(harness.serving.read(WEBP, GENERATE) for _ in range(20)))
        await harness.serving.shut_down(within_seconds=1)
        assert {(each.outcome, each.body) for each in answers} == {(Outcome.HIT, b"picture 1 as better webp")}
        new = await kept(harness, WEBP)
        assert new is not None
        assert (new.encoder_version, new.path) == (harness.artist.encoder_version, answers[0].entry.path)
        assert old.path in harness.ledger._discarded
        assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 1 as better webp"
        assert (harness.artist.encodings, harness.provider.submits) == (1, 1)

    @pytest.mark.parametrize("gone", [True, False])
    async def test_old_bytes_are_served_where_that_fails_and_it_is_not_tried_at_once_again(
        self, harness: ServingHarness, caplog: pytest.LogCaptureFixture, *, gone: bool
    ) -> None:
        original = await harness.original(WEBP)
        if gone:
            await harness.objects.remove([original.path])
        else:
            harness.artist.encode = self.break_down  # type: ignore[assignment]
        reads = harness.objects.gets["png"]
        for _ in range(3):
            found = await harness.serving.read(WEBP, GENERATE)
            assert (found.outcome, found.body) == (Outcome.HIT, WEBP_BODY)
        assert harness.objects.gets["png"] == reads + 1
        assert len([line for line in caplog.messages if "older encoders" in line]) == 1
        # The entries stay: a lost original alone costs nothing.
        assert await harness.original(WEBP) == original
        await harness.clock.advance(601)
        await harness.serving.read(WEBP, GENERATE)
        assert harness.objects.gets["png"] == reads + 2

    async def break_down(self, *_: object) -> bytes:
        raise KeyError("a bug")

    async def test_old_bytes_are_served_at_once_while_the_line_is_full(
        self, harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_originals, "MAX_USERS", 0)
        assert (await harness.serving.read(WEBP, GENERATE)).body == WEBP_BODY
        with pytest.raises(TooManyWaiters):
            await harness.serving.read(sized(PictureFormat.WEBP, 16), GENERATE)
        monkeypatch.undo()
        assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 1 as better webp"

    async def test_a_newer_version_of_another_process_is_left_alone(self, harness: ServingHarness) -> None:
        harness.artist.encoder_version -= 2
        assert (await harness.serving.read(WEBP, GENERATE)).body == WEBP_BODY
        assert harness.artist.encodings == 0
