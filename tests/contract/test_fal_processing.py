"""fal as a provider that processes pictures, against the STAND-IN: what is asked, and what comes back."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from copperplate.adapters.fal.endpoints import ESRGAN as ESRGAN_ENDPOINT
from copperplate.adapters.fal.endpoints import BodyField, Endpoint, number
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Job, Size
from copperplate.prices import ProcessingPrice, ProcessingUnit
from copperplate.processing_models import ProcessingModel
from copperplate.source_pictures import Operation
from tests.support.processing_harness import Brought, failure_of, made, processing_at, submits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.fal.processing import FalProcessing
    from tests.standin.server import Standin

BIREFNET, BRIA, SEEDVR = "fal-ai/birefnet/v2", "fal-ai/bria/background/remove", "fal-ai/seedvr/upscale/image"
ESRGAN, CODEFORMER = "fal-ai/esrgan", "fal-ai/codeformer"


@pytest.fixture
async def fal(standin: Standin) -> AsyncIterator[FalProcessing]:
    fal = processing_at(standin.url)
    yield fal
    await fal.close()


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


async def test_model_that_is_no_longer_named_is_a_fault_of_the_setting_before_a_submit(
    fal: FalProcessing, standin: Standin
) -> None:
    promised = Brought().request(fal, BRIA)
    fewer = processing_at(standin.url, endpoints=(ESRGAN_ENDPOINT,))
    with pytest.raises(ProviderFailed, match=f"COPPERPLATE_PROCESS_MODELS does not name {BRIA}") as failed:
        await fewer.prepare(promised.recipe, promised.inputs)
    assert (failed.value.failure_class, failed.value.of_model) == (FailureClass.ACCOUNT, True)
    assert (failed.value.billed, len(standin.scenario_log.posts)) == (False, 0)
    await fewer.close()


async def test_picture_the_model_does_not_take_is_the_callers_fault(fal: FalProcessing, standin: Standin) -> None:
    standin.scenario_log.tell(BRIA, "job_invalid")
    assert (await failure_of(fal, Brought(), BRIA)).failure_class is FailureClass.INVALID


def test_canvas_is_the_size_asked(fal: FalProcessing) -> None:
    size = Size(width=333, height=77)
    assert fal.canvas(size) == size
