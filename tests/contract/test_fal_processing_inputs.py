"""Inputs of fal's jobs, against the STAND-IN: addressed or uploaded, once, and anew when an address is over."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.fal.processing import MAX_NOT_LOADED
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.source_errors import SourceUnknown
from tests.standin.fal_storage import TOKEN
from tests.support.processing_harness import Brought, failure_of, made, photograph, processing_at, submits
from tests.support.provider_harness import KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.fal.processing import FalProcessing
    from tests.standin.server import Standin

BIREFNET, BRIA, SEEDVR = "fal-ai/birefnet/v2", "fal-ai/bria/background/remove", "fal-ai/seedvr/upscale/image"
ESRGAN, CODEFORMER = "fal-ai/esrgan", "fal-ai/codeformer"
KEPT = {"expiration_duration_seconds": 3_600, "initial_acl": {"default": "forbid"}}


@pytest.fixture
async def fal(standin: Standin) -> AsyncIterator[FalProcessing]:
    fal = processing_at(standin.url)
    yield fal
    await fal.close()


async def test_input_is_uploaded_with_an_expiry_and_an_access_list_and_no_name(
    fal: FalProcessing, standin: Standin
) -> None:
    brought = Brought()
    await made(fal, brought, BRIA)
    (upload,) = standin.scenario_log.uploads
    assert (upload.way, upload.body, upload.media_type) == ("cdn", brought.body, "image/png")
    assert (upload.lifecycle, upload.name) == (KEPT, "input.png")
    token, bytes_sent = standin.scenario_log.requests[:2]
    assert (token["path"], bytes_sent["path"]) == ("/storage/auth/token", "/files/upload")
    # As fal-client: one header for the CDN, one for the storage's own service.
    assert bytes_sent["headers"]["x-fal-object-lifecycle"] == bytes_sent["headers"]["x-fal-object-lifecycle-preference"]


async def test_key_goes_to_the_storage_service_and_a_token_alone_to_where_bytes_go(standin: Standin) -> None:
    seen: dict[str, str] = {}
    note = standin.scenario_log.note

    def noting(method: str, path: str, headers: dict[str, str], body: object = None) -> None:
        seen[path] = headers.get("authorization", "")
        note(method, path, headers, body)

    standin.scenario_log.note = noting  # type: ignore[method-assign]
    fal = processing_at(standin.url)
    try:
        await made(fal, Brought(), BRIA)
    finally:
        del standin.scenario_log.note
        await fal.close()
    assert seen["/storage/auth/token"] == f"Key {KEY}"
    assert seen["/files/upload"] == f"Bearer {TOKEN}"


async def test_access_list_is_what_the_setting_says(standin: Standin) -> None:
    fal = processing_at(standin.url, acl="allow")
    await fal.prepare({"model": BRIA}, (Brought().input,))
    assert standin.scenario_log.uploads[0].lifecycle["initial_acl"] == {"default": "allow"}
    await fal.close()


async def test_input_that_has_an_address_is_not_uploaded(fal: FalProcessing, standin: Standin) -> None:
    await fal.prepare({"model": BRIA}, (Brought().input,))
    at = f"{standin.url}/files/b/0/input.png"
    brought = Brought(body=photograph(tint=7), at=at)
    assert (await made(fal, brought, BRIA)).size == (64, 48)
    assert (brought.read, len(standin.scenario_log.uploads)) == (0, 1)
    assert standin.scenario_log.posts["storage /files"] == 1


async def test_input_is_uploaded_once_for_what_is_prepared_submitted_and_submitted_again(
    fal: FalProcessing, standin: Standin
) -> None:
    brought = Brought()
    request = brought.request(fal, BRIA)
    await fal.prepare(request.recipe, request.inputs)
    assert submits(standin) == 0
    standin.scenario_log.tell(BRIA, "drop", "ok")
    with pytest.raises(ProviderFailed) as lost:
        await fal.submit(request.recipe, request.inputs)
    assert lost.value.failure_class is FailureClass.AMBIGUOUS
    await fal.submit(request.recipe, request.inputs)
    assert (len(standin.scenario_log.uploads), brought.read, submits(standin)) == (1, 1, 2)


async def test_two_operations_on_one_picture_upload_it_once_at_the_same_time_too(
    fal: FalProcessing, standin: Standin
) -> None:
    await asyncio.gather(*(made(fal, Brought(), model) for model in (BIREFNET, SEEDVR, CODEFORMER)))
    await made(fal, Brought(), ESRGAN)
    assert (len(standin.scenario_log.uploads), submits(standin)) == (1, 4)


class LaterClock(SystemClock):
    """The machine's two clocks, later by as many seconds as a test says."""

    later = 0.0
    later_on_the_wall = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.later_on_the_wall)


@pytest.mark.parametrize(
    ("seconds", "on_the_wall", "uploads"),
    [
        (44 * 60, 44 * 60, 1),
        (46 * 60, 46 * 60, 2),
        # Frozen meanwhile, as a function is between two requests.
        (1, 46 * 60, 2),
        # Its time was set back.
        (46 * 60, -3_600, 2),
    ],
)
async def test_address_is_used_while_fal_has_time_to_load_it_by_both_clocks(
    seconds: float, on_the_wall: float, uploads: int, standin: Standin
) -> None:
    clock = LaterClock()
    fal = processing_at(standin.url, clock=clock)
    await fal.prepare({"model": BRIA}, (Brought().input,))
    clock.later, clock.later_on_the_wall = seconds, on_the_wall
    await fal.prepare({"model": BRIA}, (Brought().input,))
    assert len(standin.scenario_log.uploads) == uploads
    await fal.close()


async def test_token_is_asked_for_once_while_it_is_valid(fal: FalProcessing, standin: Standin) -> None:
    for tint in range(3):
        await fal.prepare({"model": BRIA}, (Brought(photograph(tint=tint)).input,))
    assert standin.scenario_log.posts["storage /storage/auth"] == 1
    standin.scenario_log.clear()
    standin.scenario_log.tell("storage:token", "expires=30")
    short = processing_at(standin.url)
    for tint in range(2):
        await short.prepare({"model": BRIA}, (Brought(photograph(tint=tint)).input,))
    assert standin.scenario_log.posts["storage /storage/auth"] == 2
    await short.close()


async def test_picture_that_is_not_here_any_more_is_not_uploaded_and_says_so(
    fal: FalProcessing, standin: Standin
) -> None:
    request = Brought(failure=SourceUnknown("gone")).request(fal, BRIA)
    with pytest.raises(SourceUnknown):
        await fal.prepare(request.recipe, request.inputs)
    assert not standin.scenario_log.posts


async def test_picture_that_is_gone_for_one_is_taken_from_another_who_has_it(
    fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:token", "http_500")
    without, having = Brought(failure=SourceUnknown("gone")), Brought()
    standin.scenario_log.tell("storage:token", "ok")
    outcomes = await asyncio.gather(
        fal.prepare({"model": BRIA}, (without.input,)),
        fal.prepare({"model": BRIA}, (having.input,)),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [SourceUnknown, type(None)]
    assert len(standin.scenario_log.uploads) == 1


async def test_input_that_fal_cannot_load_is_its_own_trouble_and_is_uploaded_anew_the_next_time(
    fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:file", "http_404")
    for _ in range(MAX_NOT_LOADED):
        failed = await failure_of(fal, Brought(), BRIA)
        assert (failed.failure_class, failed.of_model, failed.billed) == (FailureClass.TRANSIENT, False, False)
        assert "COPPERPLATE_FAL_UPLOAD_ACL" in str(failed)
    standin.scenario_log.tell("storage:file", "ok")
    assert (await made(fal, Brought(), BRIA)).size == (64, 48)
    assert len(standin.scenario_log.uploads) == MAX_NOT_LOADED + 1


async def test_several_inputs_in_a_row_that_fal_cannot_load_are_our_fault(fal: FalProcessing, standin: Standin) -> None:
    def tinted(*tints: int) -> list[Brought]:
        return [Brought(photograph(tint=tint)) for tint in tints]

    for brought, is_loaded in [*zip(tinted(1, 2, 3, 1, 4), (False, False, True, False, False), strict=True)]:
        standin.scenario_log.tell("storage:file", "ok" if is_loaded else "http_404")
        if is_loaded:
            await made(fal, brought, BRIA)
        else:
            assert (await failure_of(fal, brought, BRIA)).failure_class is FailureClass.TRANSIENT
    (last,) = tinted(5)
    failed = await failure_of(fal, last, BRIA)
    assert (failed.failure_class, failed.of_model, failed.billed) == (FailureClass.ACCOUNT, True, False)


async def test_input_that_fal_could_not_load_from_our_store_is_uploaded(fal: FalProcessing, standin: Standin) -> None:
    brought = Brought(at=f"{standin.url}/files/b/7/input.png")
    assert (await failure_of(fal, brought, BRIA)).failure_class is FailureClass.TRANSIENT
    assert (brought.read, len(standin.scenario_log.uploads)) == (0, 0)
    assert (await made(fal, brought, BRIA)).size == (64, 48)
    assert (brought.read, len(standin.scenario_log.uploads)) == (1, 1)
