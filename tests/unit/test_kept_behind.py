"""What is made and kept behind an answer, while its picture is purged, and while calls come and end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from copperplate.model import Condition, Outcome, PictureFormat
from copperplate.serving import renewals
from copperplate.single_flight import call_scope
from copperplate.testing import GENERATE
from tests.support.pictures import picture_request
from tests.support.serving_harness import ServingHarness

if TYPE_CHECKING:
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Entry, Rendition, RenditionUpload

PNG = picture_request(picture_format=PictureFormat.PNG)
WEBP = picture_request(picture_format=PictureFormat.WEBP)


@pytest.fixture
async def harness() -> ServingHarness:
    """A process that has the original kept."""
    harness = ServingHarness()
    await harness.serving.read(PNG, GENERATE)
    return harness


def has_addresses(harness: ServingHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.objects, "public_url", lambda path: f"https://objects.test/{path}")


async def purge(harness: ServingHarness) -> None:
    purged = await harness.ledger.purge(Condition(key=PNG.generation_key), 10, is_dry_run=False)
    assert purged.generations == 1


async def ends(harness: ServingHarness, within_seconds: float) -> LookupResult:
    """One call on Vercel, from its question to its end."""
    with call_scope() as call:
        try:
            return await harness.serving.read(WEBP, GENERATE)
        finally:
            await harness.serving.finish(call, within_seconds=within_seconds)


async def test_form_of_a_purged_picture_that_is_being_kept_is_not_answered_again(harness: ServingHarness) -> None:
    gate = harness.objects.put_gate = asyncio.Event()
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 1 as webp"
    harness.objects.put_gate = None
    await purge(harness)
    await harness.serving.read(PNG, GENERATE)
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 2 as webp"
    gate.set()
    await harness.serving.shut_down(within_seconds=1)
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 2 as webp"


async def test_form_of_a_purged_picture_that_is_being_encoded_is_not_joined(harness: ServingHarness) -> None:
    gate = harness.artist.gate = asyncio.Event()
    before = asyncio.create_task(harness.serving.read(WEBP, GENERATE))
    await harness.clock.settle()
    harness.artist.gate = None
    await purge(harness)
    await harness.serving.read(PNG, GENERATE)
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 2 as webp"
    gate.set()
    assert (await before).body == b"picture 1 as webp"


async def test_address_of_a_form_whose_picture_was_purged_meanwhile_is_one_of_the_next_picture(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_addresses(harness, monkeypatch)
    record = harness.ledger.record_rendition

    async def purged(original: Entry, upload: RenditionUpload) -> Entry | None:
        monkeypatch.setattr(harness.ledger, "record_rendition", record)
        await purge(harness)
        return await record(original, upload)

    monkeypatch.setattr(harness.ledger, "record_rendition", purged)
    found = await harness.serving.read(WEBP, GENERATE, at_most_bytes=1)
    assert found.body is None
    assert await harness.objects.get(found.entry.path) == b"picture 2 as webp"


async def test_call_that_joined_the_encoding_stays_open_until_it_is_kept(harness: ServingHarness) -> None:
    harness.objects.put_gate, harness.artist.gate = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(ends(harness, 0))
    await harness.clock.settle()
    second = asyncio.create_task(ends(harness, 5))
    await harness.clock.settle()
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    harness.artist.gate.set()
    await harness.clock.settle()
    assert not second.done()
    harness.objects.put_gate.set()
    assert (await second).body == b"picture 1 as webp"
    assert (await harness.process().find(WEBP, GENERATE)).entry.key == WEBP.rendition_key


async def test_call_that_waits_for_an_address_is_not_cut_off_by_the_end_of_another(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_addresses(harness, monkeypatch)
    harness.objects.put_gate = asyncio.Event()
    with call_scope() as first:
        await harness.serving.find(WEBP, GENERATE)

    async def second() -> LookupResult:
        with call_scope():
            return await harness.serving.read(WEBP, GENERATE, at_most_bytes=1)

    waiting = asyncio.create_task(second())
    await harness.clock.settle()
    await harness.serving.finish(first, within_seconds=0)
    harness.objects.put_gate.set()
    assert (await waiting).body is None


async def test_slow_renewal_goes_on_behind_one_hit_and_the_next_ones_do_not_wait(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.serving.read(WEBP, GENERATE)
    await harness.serving.shut_down(within_seconds=1)
    harness.artist.encoder_version += 1
    harness.artist.encodings = 0
    monkeypatch.setattr(renewals, "WAIT_SECONDS", 0.05)
    gate = harness.artist.gate = asyncio.Event()
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 1 as webp"
    monkeypatch.setattr(renewals, "WAIT_SECONDS", 1_000)
    async with asyncio.timeout(10):
        assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 1 as webp"
    assert harness.artist.encodings == 1

    async def better(original: bytes, rendition: Rendition) -> bytes:
        raise AssertionError

    monkeypatch.setattr(harness.artist, "encode", better)
    gate.set()
    await harness.serving.shut_down(within_seconds=1)
    renewed = await harness.serving.read(WEBP, GENERATE)
    assert (renewed.outcome, renewed.entry.encoder_version) == (Outcome.HIT, harness.artist.encoder_version)


async def test_first_form_of_another_picture_does_not_wait_for_all_that_is_made_again(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [picture_request(f"picture {number}", picture_format=PictureFormat.WEBP) for number in range(40)]
    for each in old:
        await harness.serving.read(each, GENERATE)
    await harness.serving.shut_down(within_seconds=5)
    harness.artist.encoder_version += 1
    harness.artist.encodings = 0
    monkeypatch.setattr(renewals, "WAIT_SECONDS", 0.05)
    gate = harness.artist.gate = asyncio.Event()
    hits = await asyncio.gather(*(harness.serving.read(each, GENERATE) for each in old))
    assert all(hit.entry.encoder_version < harness.artist.encoder_version for hit in hits)
    assert len(harness.serving._renewals._flights) == renewals.MOST
    gate.set()
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 1 as webp"
    await harness.serving.shut_down(within_seconds=5)
    assert harness.artist.encodings == renewals.MOST + 1
