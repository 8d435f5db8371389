"""From an entry to bytes: made once, read once, verified always, and honest about a store that loses things."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import (
    GenerationFailed,
    NotGenerated,
    ProviderFailed,
    StillGenerating,
    StoreUnavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.digests import INLINE_BYTES
from copperplate.generation.lookup import LOOK_ONLY
from copperplate.model import Outcome, PictureFormat
from copperplate.recipes.objects import sha256_hex
from copperplate.testing import GENERATE
from copperplate.tiers.tiers import Tiers
from tests.support.pictures import picture_request
from tests.support.serving_harness import ServingHarness

if TYPE_CHECKING:
    from copperplate.generation.lookup import LookupResult
    from copperplate.ledger_answers import AcquireResult
    from copperplate.model import Entry, PictureRequest

WEBP = picture_request(picture_format=PictureFormat.WEBP)
JPG_BODY, WEBP_BODY = b"picture 1 as jpg", b"picture 1 as webp"


class CountingTiers(Tiers):
    """Counts what it is given to keep."""

    keeps = 0

    def keep(self, request: PictureRequest, found: LookupResult) -> None:
        self.keeps += 1
        super().keep(request, found)


@pytest.fixture
def harness() -> ServingHarness:
    return ServingHarness()


async def test_first_read_makes_the_rendition_and_the_second_reads_it(harness: ServingHarness) -> None:
    first = await harness.serving.read(picture_request(), GENERATE)
    body = first.body
    again = await harness.serving.read(picture_request(), GENERATE)
    same = again.body
    assert (first.outcome, again.outcome) == (Outcome.GENERATED, Outcome.HIT)
    assert first.entry == again.entry
    assert not first.entry.is_original
    assert body == same == JPG_BODY
    assert (harness.objects.puts, harness.objects.gets) == ({"png": 1, "jpg": 1}, {"jpg": 1})


async def test_rendition_is_recorded_as_exactly_what_was_stored(harness: ServingHarness) -> None:
    found = await harness.serving.find(picture_request(), GENERATE)
    entry = found.entry
    assert (entry.digest, entry.size_bytes) == (sha256_hex(JPG_BODY), len(JPG_BODY))
    assert (entry.format, entry.width, entry.height) == ("jpg", 64, 64)
    assert await harness.objects.get(entry.path) == JPG_BODY


async def test_hundred_askers_at_once_cost_one_encoding_and_one_stored_object(harness: ServingHarness) -> None:
    answers = await asyncio.gather(*(harness.serving.read(picture_request(), GENERATE) for _ in range(100)))
    assert {found.body for found in answers} == {JPG_BODY}
    assert Counter(found.outcome for found in answers) == {Outcome.GENERATED: 1, Outcome.COALESCED: 99}
    assert harness.artist.encodings == 1
    assert harness.objects.puts == {"png": 1, "jpg": 1}
    assert harness.provider.submits == 1


async def test_followers_in_another_process_share_one_read_and_one_copy(harness: ServingHarness) -> None:
    harness.provider.seconds = 12
    leading = asyncio.create_task(harness.serving.read(picture_request(), GENERATE))
    await harness.clock.settle()
    tiers = CountingTiers(harness.ledger, harness.clock)
    other = harness.server(harness.process(), tiers)
    following = [asyncio.create_task(other.read(picture_request(), GENERATE)) for _ in range(100)]
    await harness.clock.advance(12)
    bodies = {id((await each).body) for each in following}
    assert (await leading).body == (await following[0]).body
    assert len(bodies) == 1
    assert harness.objects.gets == {"jpg": 1}
    assert tiers.keeps == 1
    await tiers.close()


async def test_askers_of_two_formats_at_once_cost_no_read(harness: ServingHarness) -> None:
    jpg, webp = await asyncio.gather(
        harness.serving.read(picture_request(), GENERATE), harness.serving.read(WEBP, GENERATE)
    )
    assert (jpg.outcome, jpg.body) == (Outcome.GENERATED, JPG_BODY)
    assert (webp.outcome, webp.body) == (Outcome.COALESCED, WEBP_BODY)
    assert (harness.objects.puts, harness.objects.gets) == ({"png": 1, "jpg": 1, "webp": 1}, {})


async def test_hundred_askers_for_a_new_format_cost_one_encoding_of_the_kept_original(harness: ServingHarness) -> None:
    await harness.serving.read(picture_request(), GENERATE)
    answers = await asyncio.gather(*(harness.serving.read(WEBP, GENERATE) for _ in range(100)))
    assert {(found.outcome, found.body) for found in answers} == {(Outcome.HIT, WEBP_BODY)}
    assert harness.artist.encodings == 2
    assert (harness.objects.puts["webp"], harness.objects.gets["png"]) == (1, 1)
    assert harness.provider.submits == 1


async def test_hundred_hits_at_once_read_the_object_once(harness: ServingHarness) -> None:
    await harness.serving.read(picture_request(), GENERATE)
    harness.objects.gate = asyncio.Event()
    reading = [asyncio.create_task(harness.serving.read(picture_request(), GENERATE)) for _ in range(100)]
    await harness.clock.settle()
    harness.objects.gate.set()
    assert {found.body for found in await asyncio.gather(*reading)} == {JPG_BODY}
    assert harness.objects.gets == {"jpg": 1}


async def test_object_of_many_bytes_is_verified_too(harness: ServingHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def large(*_: object) -> bytes:
        return b"x" * (INLINE_BYTES + 1)

    monkeypatch.setattr(harness.artist, "encode", large)
    await harness.serving.read(picture_request(), GENERATE)
    found = await harness.serving.read(picture_request(), GENERATE)
    body = found.body
    assert body is not None
    assert (found.outcome, len(body)) == (Outcome.HIT, INLINE_BYTES + 1)
    harness.objects.alter(found.entry, b"y" * len(body))
    assert (await harness.serving.read(picture_request(), GENERATE)).body == body


@pytest.mark.parametrize("damage", [b"something else", b"", JPG_BODY[:-1]])
async def test_altered_rendition_is_never_served_but_made_again_from_the_original(
    harness: ServingHarness, damage: bytes
) -> None:
    found = await harness.serving.read(picture_request(), GENERATE)
    harness.objects.alter(found.entry, damage)
    again = await harness.serving.read(picture_request(), GENERATE)
    body = again.body
    assert (again.outcome, body) == (Outcome.HIT, JPG_BODY)
    assert again.entry.path != found.entry.path
    assert harness.provider.submits == 1


async def test_rendition_and_original_that_are_gone_cost_one_new_generation_for_all_askers(
    harness: ServingHarness,
) -> None:
    found = await harness.serving.read(picture_request(), GENERATE)
    original = await harness.original(picture_request())
    await harness.objects.remove([found.entry.path, original.path])
    answers = await asyncio.gather(*(harness.serving.read(picture_request(), GENERATE) for _ in range(20)))
    assert {found.body for found in answers} == {b"picture 2 as jpg"}
    assert harness.provider.submits == 2


async def test_store_that_loses_everything_costs_two_submits_a_day_and_no_more(harness: ServingHarness) -> None:
    harness.objects.loses = True
    outcomes = []
    for _ in range(50):
        try:
            found = await harness.serving.read(picture_request(), GENERATE)
            outcomes.append(str(found.outcome))
        except GenerationFailed as error:
            outcomes.append(str(error.failure_class))
        await harness.clock.advance(60)
    assert outcomes == ["generated", "generated"] + [FailureClass.MISSING_OBJECT] * 48
    assert harness.provider.submits == 2


async def test_store_whose_losses_cannot_even_be_recorded_is_called_unavailable(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.serving.read(picture_request(), GENERATE)
    harness.objects.loses = True

    async def changed_meanwhile(_: Entry) -> bool:
        return False

    monkeypatch.setattr(harness.ledger, "report_missing", changed_meanwhile)
    with pytest.raises(StoreUnavailable):
        await harness.serving.read(picture_request(), GENERATE)
    assert harness.objects.gets == {"jpg": 3}
    assert harness.provider.submits == 1


async def test_store_that_does_not_answer_is_not_taken_for_one_that_lost_the_object(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await harness.serving.read(picture_request(), GENERATE)

    async def down(_: str) -> bytes:
        raise StoreUnavailable("down")

    monkeypatch.setattr(harness.objects, "get", down)
    with pytest.raises(StoreUnavailable):
        await harness.serving.read(picture_request(), GENERATE)
    monkeypatch.undo()
    again = await harness.serving.read(picture_request(), GENERATE)
    body = again.body
    assert (again.entry, body) == (found.entry, JPG_BODY)


async def test_looking_only_spends_nothing_but_may_make_a_rendition_of_a_kept_original(harness: ServingHarness) -> None:
    with pytest.raises(NotGenerated):
        await harness.serving.find(picture_request(), LOOK_ONLY)
    assert harness.provider.submits == 0
    await harness.serving.find(picture_request(), GENERATE)
    found = await harness.serving.find(WEBP, LOOK_ONLY)
    assert (found.outcome, found.entry.format) == (Outcome.HIT, "webp")
    assert harness.provider.submits == 1


async def test_looking_only_while_somebody_generates_waits_for_nothing(harness: ServingHarness) -> None:
    harness.provider.seconds = 10
    user_requests = asyncio.create_task(harness.serving.read(picture_request(), GENERATE))
    await harness.clock.settle()
    with pytest.raises(NotGenerated):
        await harness.serving.find(picture_request(), LOOK_ONLY)
    await harness.clock.advance(10)
    await user_requests


async def test_looking_only_at_a_failure_answers_the_failure(harness: ServingHarness) -> None:
    harness.provider.failures = [KeyError("a bug")]
    with pytest.raises(GenerationFailed):
        await harness.serving.find(picture_request(), GENERATE)
    with pytest.raises(GenerationFailed) as looked:
        await harness.serving.find(picture_request(), LOOK_ONLY)
    assert looked.value.failure_class is FailureClass.TRANSIENT


async def test_asker_that_joined_a_flight_for_another_format_gets_its_own(harness: ServingHarness) -> None:
    await harness.serving.find(picture_request(), GENERATE)
    jpg, webp = await asyncio.gather(
        harness.serving.read(picture_request(), GENERATE), harness.serving.read(WEBP, GENERATE)
    )
    assert (jpg.body, webp.body) == (JPG_BODY, WEBP_BODY)


async def test_askers_who_share_a_rendition_are_each_told_their_own_outcome(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, put = asyncio.Event(), harness.objects.put

    async def put_behind_the_gate(path: str, body: bytes, *, media_type: str) -> None:
        if path.endswith(".webp"):
            await gate.wait()
        await put(path, body, media_type=media_type)

    monkeypatch.setattr(harness.objects, "put", put_behind_the_gate)
    harness.provider.seconds = 1
    asked = [asyncio.create_task(harness.serving.find(each, GENERATE)) for each in (picture_request(), WEBP)]
    await harness.clock.advance(1)
    assert (await asked[0]).outcome is Outcome.GENERATED
    asked.append(
        asyncio.create_task(harness.serving.find(WEBP, GENERATE))
    )  # the picture is there, its rendition is being made
    await harness.clock.settle()
    gate.set()
    found = [await each for each in asked]
    assert [each.outcome for each in found] == [Outcome.GENERATED, Outcome.COALESCED, Outcome.HIT]
    assert found[1].entry == found[2].entry
    assert harness.artist.encodings == 2


async def test_asker_that_joined_a_look_up_of_a_picture_deleted_meanwhile_is_told_to_ask_again(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.serving.read(picture_request(), GENERATE)
    original = await harness.original(picture_request())
    acquire = harness.ledger.acquire

    async def then_it_goes(*arguments: Any, **named: Any) -> AcquireResult:
        monkeypatch.undo()
        result = await acquire(*arguments, **named)
        await asyncio.sleep(0)  # so that the other caller joins
        await harness.ledger.report_missing(original)
        return result

    monkeypatch.setattr(harness.ledger, "acquire", then_it_goes)
    jpg, webp = await asyncio.gather(
        harness.serving.read(picture_request(), GENERATE), harness.serving.read(WEBP, GENERATE), return_exceptions=True
    )
    assert not isinstance(jpg, BaseException)
    assert isinstance(webp, StillGenerating)
    assert (await harness.serving.read(WEBP, GENERATE)).body == b"picture 2 as webp"


async def test_kept_original_that_cannot_be_decoded_is_an_honest_failure_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ServingHarness()

    async def unreadable(original: bytes, picture_request: PictureRequest) -> bytes:
        raise ProviderFailed(FailureClass.BAD_OUTPUT, "cannot be decoded")

    monkeypatch.setattr(harness.artist, "encode", unreadable)
    for _ in range(2):
        with pytest.raises(GenerationFailed) as failed:
            await harness.serving.read(picture_request(), GENERATE)
        assert failed.value.http_status == 502
    assert harness.provider.submits == 1


async def test_rendition_that_is_late_when_the_process_ends_is_not_left_running(
    harness: ServingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    await harness.serving.read(picture_request(), GENERATE)
    monkeypatch.setattr(harness.images, "encode", hang)
    reading = asyncio.create_task(harness.serving.read(picture_request(picture_format=PictureFormat.WEBP), GENERATE))
    await harness.clock.settle()
    await harness.serving.shut_down(within_seconds=0)
    await harness.clock.settle()
    assert reading.cancelled()
