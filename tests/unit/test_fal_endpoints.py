"""fal's endpoints that process pictures, as descriptions: what is asked, what is in the key, what it costs."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copperplate import prices
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.endpoints import BIREFNET, BRIA, CODEFORMER, ENDPOINTS, ESRGAN, SEEDVR
from copperplate.adapters.fal.processing import FalProcessing
from copperplate.adapters.memory.clock import FakeClock
from copperplate.compose import make_provider
from copperplate.errors import Misconfigured, Uncollected
from copperplate.model import Size
from copperplate.processing_models import MAX_RESULT_PIXELS, ChoiceParameter, least, scaled
from copperplate.recipes.processed import parameters_of, processed_recipe
from copperplate.settings import Settings
from copperplate.source_pictures import Operation
from tests.standin.fal_endpoints import ENDPOINTS as OF_STANDIN
from tests.standin.fal_endpoints import problem_of
from tests.support.processing_harness import Brought, photograph

if TYPE_CHECKING:
    from copperplate.adapters.fal.endpoints import Endpoint

SOURCE = "0" * 64
FAL = FalProcessing(key="k", clock=FakeClock())
SIDES = st.integers(1, 4_096)


def body_of(endpoint: Endpoint, **parameters: str) -> dict[str, object]:
    asked = parameters_of(processed_recipe(SOURCE, endpoint.model, parameters))
    return endpoint.body_of(asked, "https://x/a.png")


def test_first_endpoint_of_each_operation_is_its_default() -> None:
    first = {endpoint.model.operation: endpoint for endpoint in reversed(ENDPOINTS)}
    assert first == {
        Operation.REMOVE_BACKGROUND: BIREFNET,
        Operation.UPSCALE: SEEDVR,
        Operation.FACE_DETAIL: CODEFORMER,
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.model.name)
def test_description_is_whole(endpoint: Endpoint) -> None:
    model = endpoint.model
    assert set(endpoint.fields) == {parameter.name for parameter in model.parameters}
    assert list(model.settings) == sorted(model.settings)
    assert endpoint.price is prices.PROCESSING_PRICES[model.name]
    assert date(2026, 11, 1) <= endpoint.read_on <= prices.AS_OF
    assert endpoint.schema
    for parameter in model.parameters:
        assert parameter.canonical(parameter.canonical_default) == parameter.canonical_default
        if isinstance(parameter, ChoiceParameter):
            assert set(parameter.choices) == set(endpoint.fields[parameter.name].words)


def test_every_price_has_its_endpoint() -> None:
    assert list(prices.PROCESSING_PRICES) == [endpoint.model.name for endpoint in ENDPOINTS]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.model.name)
def test_every_body_that_can_be_asked_for_is_one_that_the_stand_in_takes(endpoint: Endpoint) -> None:
    """The stand-in has fal's types written down anew: a name or a word that is misspelled is seen here."""
    other = OF_STANDIN[endpoint.model.name]
    assert problem_of(other, body_of(endpoint)) is None
    for parameter in endpoint.model.parameters:
        values = (
            parameter.choices
            if isinstance(parameter, ChoiceParameter)
            else (str(parameter.least), str(parameter.most), parameter.canonical_default)
        )
        for value in values:
            assert problem_of(other, body_of(endpoint, **{parameter.name: value})) is None, (parameter.name, value)


def test_parameters_are_json_of_their_own_types() -> None:
    assert body_of(SEEDVR, scale="2.50", noise="0") == {
        "image_url": "https://x/a.png",
        "upscale_mode": "factor",
        "output_format": "png",
        "seed": 1,
        "upscale_factor": 2.5,
        "noise_scale": 0,
    }
    assert body_of(CODEFORMER, **{"center-only": "yes"})["only_center_face"] is True
    assert body_of(BIREFNET, variant="dynamic")["model"] == "General Use (Dynamic)"
    assert body_of(BRIA) == {"image_url": "https://x/a.png"}


def test_face_detail_alone_enlarges_nothing() -> None:
    recipe = processed_recipe(SOURCE, CODEFORMER.model, {})
    assert scaled(Size(width=333, height=77), parameters_of(recipe)) == Size(width=333, height=77)
    assert body_of(CODEFORMER)["upscale_factor"] == 1


@given(SIDES, SIDES, st.sampled_from(["1", "1.37", "2", "10"]))
def test_result_may_lack_part_of_a_block_and_no_more(width: int, height: int, scale: str) -> None:
    size, parameters = Size(width=width, height=height), (f"scale={scale}",)
    whole, smallest = scaled(size, parameters), least(size, parameters)
    assert whole.covers(smallest)
    assert whole.width - smallest.width < 16
    assert whole.height - smallest.height < 16
    assert min(smallest.width, smallest.height) >= 1
    assert least(size, ("noise=1",)) == size


# --- prices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "given", "size", "price"),
    [
        (BIREFNET, {}, (4096, 4096), 24_000),
        (BRIA, {}, (4096, 4096), 18_000),
        (SEEDVR, {}, (512, 512), 1_000),
        (SEEDVR, {}, (513, 512), 2_000),
        (SEEDVR, {"scale": "10"}, (200, 200), 4_000),
        (ESRGAN, {"scale": "8"}, (512, 512), 66_600),
        (CODEFORMER, {}, (1024, 1024), 2_100),
        (CODEFORMER, {"scale": "2"}, (1024, 1024), 8_400),
    ],
)
def test_price_is_of_the_result_or_the_most_that_is_stated(
    endpoint: Endpoint, given: dict[str, str], size: tuple[int, int], price: int
) -> None:
    recipe = processed_recipe(SOURCE, endpoint.model, given)
    assert FAL.price_micro_usd(recipe, (Brought(photograph(*size)).input,)) == price


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.model.name)
def test_price_without_an_input_is_that_of_the_largest_result(endpoint: Endpoint) -> None:
    recipe = processed_recipe(SOURCE, endpoint.model, {})
    assert FAL.price_micro_usd(recipe) == prices.estimate_processing(endpoint.price, MAX_RESULT_PIXELS)


def test_compute_seconds_are_settled_by_the_units_reported() -> None:
    recipe = processed_recipe(SOURCE, ESRGAN.model, {})
    assert FAL.cost_micro_usd(recipe, {"micro_units": 3_250_000}) == 3_608  # 3.25 s at $0.00111, rounded up
    assert FAL.cost_micro_usd(recipe, {}) is None


def test_unknown_price_is_never_free() -> None:
    assert all(price.micro_usd > 0 for price in prices.PROCESSING_PRICES.values())
    seconds = [each for each in prices.PROCESSING_PRICES.values() if each.unit is prices.ProcessingUnit.COMPUTE_SECOND]
    assert all(price.most_seconds > 0 for price in seconds)


def test_model_that_is_not_described_has_no_price() -> None:
    recipe = {**processed_recipe(SOURCE, BRIA.model, {}), "model": "fal-ai/other"}
    assert FAL.price_micro_usd(recipe) is None
    assert FAL.cost_micro_usd(recipe, {"micro_units": 1}) is None


# --- settings ------------------------------------------------------------------------------------


def offered(**environ: str) -> list[str]:
    provider = make_provider("processed", Settings.from_env({"FAL_KEY": "k", **environ}), FakeClock())
    assert isinstance(provider, FalProcessing)
    return [model.name for model in provider.operations]


def test_models_are_those_that_are_named_the_first_as_default() -> None:
    assert offered() == [endpoint.model.name for endpoint in ENDPOINTS]
    named = "fal-ai/esrgan, fal-ai/seedvr/upscale/image"
    assert offered(COPPERPLATE_PROCESS_MODELS=named) == ["fal-ai/esrgan", "fal-ai/seedvr/upscale/image"]


def test_model_that_nobody_describes_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match=r"COPPERPLATE_PROCESS_MODELS.*'fal-ai/gfpgan'.*fal-ai/codeformer"):
        offered(COPPERPLATE_PROCESS_MODELS="fal-ai/gfpgan")


@pytest.mark.parametrize("value", [",", "a,a"])
def test_names_of_models_are_names(value: str) -> None:
    with pytest.raises(Misconfigured, match="COPPERPLATE_PROCESS_MODELS must be"):
        Settings.from_env({"COPPERPLATE_PROCESS_MODELS": value})


# --- where uploads go, and what fal can load -----------------------------------------------------

AT_FAL = Addresses(queue_url="https://queue.fal.run", result_hosts=("cdn.example.com",))
LOCAL = Addresses(queue_url="http://127.0.0.1:8100", rest_url="http://127.0.0.1:8100")


@pytest.mark.parametrize("url", ["https://v3.fal.media/files/upload", "https://v3b.fal.media/files/b/1/input.png"])
def test_inputs_are_uploaded_to_fal(url: str) -> None:
    assert str(AT_FAL.of_upload(url)) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "None/files/upload",
        "http://v3.fal.media/files/upload",
        "https://v3.fal.media:444/files/upload",
        "https://v3.fal.media.example.com/files/upload",
        "https://cdn.example.com/files/upload",
        "https://user@v3.fal.media/files/upload",
        "http://127.0.0.1:8100/files/upload",
        "https://169.254.169.254/files/upload",
    ],
)
def test_inputs_and_their_token_are_sent_nowhere_else(url: object) -> None:
    with pytest.raises(Uncollected):
        AT_FAL.of_upload(url)


def test_stand_in_takes_uploads_at_its_very_address() -> None:
    assert LOCAL.of_upload("http://127.0.0.1:8100/files/upload").port == 8100
    with pytest.raises(Uncollected):
        LOCAL.of_upload("http://127.0.0.1:8101/files/upload")


@pytest.mark.parametrize(
    ("url", "can_load"),
    [
        ("https://project.supabase.co/storage/v1/object/sign/processed-images/a.png?token=x", True),
        ("https://93.184.216.34/a.png", True),
        ("http://project.supabase.co/a.png", False),
        ("http://127.0.0.1:54321/a.png", False),
        ("https://127.0.0.1/a.png", False),
        ("https://10.0.0.7/a.png", False),
        ("https://kong/a.png", False),
        ("https://store.internal/a.png", False),
        ("data:image/png;base64,AAAA", False),
    ],
)
def test_address_of_ours_is_given_to_fal_only_where_fal_can_reach_it(url: str, can_load: bool) -> None:
    assert AT_FAL.can_load(url) is can_load
