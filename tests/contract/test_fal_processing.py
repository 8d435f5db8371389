"""fal as a provider that processes pictures, against the STAND-IN: what is uploaded, what is asked, what comes back."""

from __future__ import annotations

import asyncio
import socket
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from copperplate.adapters.fal.endpoints import ESRGAN as ESRGAN_ENDPOINT
from copperplate.adapters.fal.endpoints import BodyField, Endpoint, number
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import Misconfigured, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Job, Size
from copperplate.prices import ProcessingPrice, ProcessingUnit
from copperplate.processing_models import ProcessingModel
from copperplate.source_errors import SourceUnknown
from copperplate.source_pictures import Operation
from tests.standin.fal_storage import TOKEN
from tests.support.processing_harness import Brought, photograph, processing_at
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


async def made(fal: FalProcessing, brought: Brought, model: str, **given: str) -> Image.Image:
    request = brought.request(fal, model, **given)
    job = await fal.submit(request.recipe, request.inputs)
    return Image.open(BytesIO((await fal.collect(job)).body))


async def failure_of(fal: FalProcessing, brought: Brought, model: str = BRIA) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as failed:
        await made(fal, brought, model)
    return failed.value


def submits(standin: Standin) -> int:
    return sum(count for name, count in standin.scenario_log.posts.items() if name.startswith("fal-ai/"))


# --- what is asked and what comes back -----------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "body", "size", "micro_units"),
    [
        (
            BIREFNET,
            {"variant": "portrait", "resolution": "2048", "refine": "no"},
            {
                "model": "Portrait",
                "operating_resolution": "2048x2048",
                "refine_foreground": False,
                "output_format": "png",
            },
            (64, 48),
            2_000_000,
        ),
        (BRIA, {}, {}, (64, 48), 1_000_000),
        (
            SEEDVR,
            {"scale": "2.5"},
            {
                "upscale_mode": "factor",
                "upscale_factor": 2.5,
                "noise_scale": 0.1,
                "seed": 1,
                "output_format": "png",
            },
            (160, 120),
            1_000_000,
        ),
        (
            ESRGAN,
            {"face": "yes"},
            {"scale": 2, "model": "RealESRGAN_x4plus", "face": True, "output_format": "png"},
            (128, 96),
            2_000_000,
        ),
        (
            CODEFORMER,
            {},
            {"fidelity": 0.5, "upscale_factor": 1, "face_upscale": True, "only_center_face": False, "seed": 1},
            (64, 48),
            1_000_000,
        ),
    ],
)
async def test_endpoint_is_asked_in_its_own_words_and_answers_a_picture_of_the_size_asked(
    model: str,
    given: dict[str, str],
    body: dict[str, object],
    size: tuple[int, int],
    micro_units: int,
    fal: FalProcessing,
    standin: Standin,
) -> None:
    request = Brought().request(fal, model, **given)
    job = await fal.submit(request.recipe, request.inputs)
    assert isinstance(job, Job)
    sent = standin.scenario_log.requests[-1]
    assert sent["path"] == f"/{model}"
    assert sent["body"] == {"image_url": f"{standin.url}/files/b/0/input.png", **body}
    result = await fal.collect(job)
    assert Image.open(BytesIO(result.body)).size == size
    assert result.usage == {"micro_units": micro_units}
    cost = fal.cost_micro_usd(request.recipe, result.usage)
    assert cost == standin.scenario_log.bill()["fal"]["micro_usd"]
    estimate = fal.price_micro_usd(request.recipe, request.inputs)
    assert estimate is not None
    assert estimate >= cost


async def test_background_that_is_removed_is_transparent(fal: FalProcessing) -> None:
    picture = await made(fal, Brought(), BIREFNET)
    assert picture.mode == "RGBA"
    assert picture.getpixel((0, 0))[3] < picture.getpixel((32, 24))[3]  # type: ignore[index]


async def test_submit_has_the_headers_of_every_submit(fal: FalProcessing, standin: Standin) -> None:
    request = Brought().request(fal, BRIA)
    await fal.submit(request.recipe, request.inputs)
    headers = standin.scenario_log.requests[-1]["headers"]
    assert (headers["x-fal-no-retry"], headers["x-app-fal-disable-fallback"]) == ("1", "true")
    assert headers["x-fal-object-lifecycle-preference"] == '{"expiration_duration_seconds": 86400}'
    # With it a result could be had for an hour only, and no later leader could collect it.
    assert "x-fal-store-io" not in headers


async def test_another_endpoint_is_a_description(standin: Standin) -> None:
    sharpen = Endpoint(
        model=ProcessingModel(
            name="fal-ai/standin/sharpen",
            operation=Operation.FACE_DETAIL,
            parameters=(number("strength", "0.5", "0", "1", 2),),
        ),
        price=ProcessingPrice(micro_usd=7_000, unit=ProcessingUnit.PICTURE, source="a test"),
        fields={"strength": BodyField(name="amount")},
    )
    fal = processing_at(standin.url, endpoints=(sharpen,))
    request = Brought().request(fal, "fal-ai/standin/sharpen", strength="0.75")
    result = await fal.collect(await fal.submit(request.recipe, request.inputs))
    assert standin.scenario_log.requests[4]["path"].startswith(f"{standin.url}/fal-ai/standin/requests/")
    assert (Image.open(BytesIO(result.body)).size, fal.price_micro_usd(request.recipe)) == ((64, 48), 7_000)
    assert fal.cost_micro_usd(request.recipe, result.usage) == 7_000
    await fal.close()


async def test_job_is_collected_by_who_never_knew_of_the_endpoint(fal: FalProcessing, standin: Standin) -> None:
    request = Brought().request(fal, CODEFORMER)
    job = await fal.submit(request.recipe, request.inputs)
    other = processing_at(standin.url)
    assert (await other.collect(job)).usage == {"micro_units": 1_000_000}
    assert (len(standin.scenario_log.uploads), submits(standin)) == (1, 1)
    await other.close()


async def test_model_that_is_not_named_any_more_is_a_fault_of_the_setting(fal: FalProcessing, standin: Standin) -> None:
    promised = Brought().request(fal, BRIA)
    fewer = processing_at(standin.url, endpoints=(ESRGAN_ENDPOINT,))
    with pytest.raises(Misconfigured, match=f"COPPERPLATE_PROCESS_MODELS does not name {BRIA}"):
        await fewer.submit(promised.recipe, promised.inputs)
    assert not standin.scenario_log.posts
    await fewer.close()


# --- inputs --------------------------------------------------------------------------------------


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
    await fal.prepare((Brought().input,))
    assert standin.scenario_log.uploads[0].lifecycle["initial_acl"] == {"default": "allow"}
    await fal.close()


async def test_input_that_has_an_address_is_not_uploaded(fal: FalProcessing, standin: Standin) -> None:
    await fal.prepare((Brought().input,))
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
    await fal.prepare(request.inputs)
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
    """The machine's clock, later by as many seconds as a test says."""

    later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


@pytest.mark.parametrize(("seconds", "uploads"), [(44 * 60, 1), (46 * 60, 2)])
async def test_address_is_used_while_fal_has_time_to_load_it(seconds: float, uploads: int, standin: Standin) -> None:
    clock = LaterClock()
    fal = processing_at(standin.url, clock=clock)
    await fal.prepare((Brought().input,))
    clock.later = seconds
    await fal.prepare((Brought().input,))
    assert len(standin.scenario_log.uploads) == uploads
    await fal.close()


async def test_token_is_asked_for_once_while_it_is_valid(fal: FalProcessing, standin: Standin) -> None:
    for tint in range(3):
        await fal.prepare((Brought(photograph(tint=tint)).input,))
    assert standin.scenario_log.posts["storage /storage/auth"] == 1
    standin.scenario_log.clear()
    standin.scenario_log.tell("storage:token", "expires=30")
    short = processing_at(standin.url)
    for tint in range(2):
        await short.prepare((Brought(photograph(tint=tint)).input,))
    assert standin.scenario_log.posts["storage /storage/auth"] == 2
    await short.close()


async def test_picture_that_is_not_here_any_more_is_not_uploaded_and_says_so(
    fal: FalProcessing, standin: Standin
) -> None:
    request = Brought(failure=SourceUnknown("gone")).request(fal, BRIA)
    with pytest.raises(SourceUnknown):
        await fal.prepare(request.inputs)
    assert not standin.scenario_log.posts


async def test_picture_that_is_gone_for_one_is_taken_from_another_who_has_it(
    fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:token", "http_500")
    without, having = Brought(failure=SourceUnknown("gone")), Brought()
    standin.scenario_log.tell("storage:token", "ok")
    outcomes = await asyncio.gather(fal.prepare((without.input,)), fal.prepare((having.input,)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [SourceUnknown, type(None)]
    assert len(standin.scenario_log.uploads) == 1


# --- uploads that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "scenario"),
    [
        ("storage:token", "http_500"),
        ("storage:token", "drop"),
        ("storage:token", "not_json"),
        ("storage:token", "base=https://files.example.com"),
        ("storage:cdn", "http_503"),
        ("storage:cdn", "http_401"),
        ("storage:cdn", "http_413"),
        ("storage:cdn", "drop"),
        ("storage:cdn", "not_json"),
        ("storage:cdn", "at=https://files.example.com/a.png"),
    ],
)
async def test_upload_that_the_cdn_does_not_take_goes_through_the_storage_service(
    stage: str, scenario: str, fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell(stage, scenario)
    brought = Brought()
    assert (await made(fal, brought, BRIA)).size == (64, 48)
    kept = [upload for upload in standin.scenario_log.uploads if upload.way == "storage"]
    assert [(upload.body, upload.lifecycle, upload.name) for upload in kept] == [(brought.body, KEPT, "input.png")]
    assert submits(standin) == 1


@pytest.mark.parametrize(
    ("stage", "scenario"),
    [
        ("storage:initiate", "http_500"),
        ("storage:initiate", "drop"),
        ("storage:initiate", "not_json"),
        ("storage:initiate", "to=https://files.example.com/put"),
        ("storage:initiate", "to=http://169.254.169.254/latest"),
        ("storage:put", "http_403"),
        ("storage:put", "drop"),
    ],
)
async def test_upload_that_nobody_takes_costs_nothing_and_submits_nothing(
    stage: str, scenario: str, fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:cdn", "http_503")
    standin.scenario_log.tell(stage, scenario)
    failed = await failure_of(fal, Brought())
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    assert "secret" not in str(failed)
    assert submits(standin) == 0


@pytest.mark.parametrize(("stage", "name"), [("storage:token", "base"), ("storage:initiate", "to")])
async def test_neither_input_nor_token_goes_to_another_port_of_this_machine(
    stage: str, name: str, fal: FalProcessing, standin: Standin
) -> None:
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        elsewhere.setblocking(False)
        standin.scenario_log.tell("storage:cdn", "http_503")
        standin.scenario_log.tell(stage, f"{name}=http://127.0.0.1:{elsewhere.getsockname()[1]}")
        if stage == "storage:token":
            standin.scenario_log.tell("storage:initiate", "http_503")
        assert (await failure_of(fal, Brought())).failure_class is FailureClass.TRANSIENT
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


@pytest.mark.parametrize(
    ("scenario", "failure_class", "told"),
    [
        ("http_401", FailureClass.ACCOUNT, "check FAL_KEY"),
        ("http_403", FailureClass.ACCOUNT, "rights of FAL_KEY"),
        ("http_429=7", FailureClass.RATE_LIMITED, "rate"),
    ],
)
async def test_refused_upload_says_whose_fault_it_is_and_is_not_tried_another_way(
    scenario: str, failure_class: FailureClass, told: str, fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:token", scenario)
    failed = await failure_of(fal, Brought())
    assert (failed.failure_class, failed.billed) == (failure_class, False)
    assert told in str(failed)
    assert (submits(standin), len(standin.scenario_log.uploads)) == (0, 0)


@pytest.mark.parametrize("stage", ["storage:token", "storage:cdn"])
async def test_upload_ends_after_its_time(stage: str, standin: Standin) -> None:
    fal = processing_at(standin.url, upload_seconds=0.3)
    standin.scenario_log.tell(stage, "held")
    failed = await failure_of(fal, Brought())
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    assert submits(standin) == 0
    standin.scenario_log.release()
    await fal.close()


async def test_address_of_an_input_is_in_no_log_line_of_ours_and_in_no_message(
    fal: FalProcessing, standin: Standin, caplog: pytest.LogCaptureFixture
) -> None:
    standin.scenario_log.tell("storage:file", "http_404")
    with caplog.at_level("DEBUG", logger="copperplate"):
        failed = await failure_of(fal, Brought())
    assert "input.png" not in str(failed) + caplog.text
    assert "storage.example.com" not in str(failed) + failed.discreet
    assert "(an address)" in str(failed)


# --- results -------------------------------------------------------------------------------------


async def test_input_that_fal_cannot_load_is_our_fault_and_is_uploaded_anew_the_next_time(
    fal: FalProcessing, standin: Standin
) -> None:
    standin.scenario_log.tell("storage:file", "http_404")
    failed = await failure_of(fal, Brought())
    assert (failed.failure_class, failed.of_model, failed.billed) == (FailureClass.ACCOUNT, True, False)
    assert "COPPERPLATE_FAL_UPLOAD_ACL" in str(failed)
    standin.scenario_log.tell("storage:file", "ok")
    assert (await made(fal, Brought(), BRIA)).size == (64, 48)
    assert len(standin.scenario_log.uploads) == 2


async def test_picture_the_model_does_not_take_is_the_callers_fault(fal: FalProcessing, standin: Standin) -> None:
    standin.scenario_log.tell(BRIA, "job_invalid")
    assert (await failure_of(fal, Brought())).failure_class is FailureClass.INVALID


def test_canvas_is_the_size_asked(fal: FalProcessing) -> None:
    size = Size(width=333, height=77)
    assert fal.canvas(size) == size
