"""A request comes back from its recipe with the keys it had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.openai import OpenAIImages
from copperplate.errors import InvalidText
from copperplate.http.items import read_item
from copperplate.model import PictureFormat
from copperplate.recipes.image import MAX_SEED, image_request
from copperplate.recipes.memoji import memoji_request
from copperplate.recipes.memoji_words import ACCESSORIES, BACKGROUNDS, FAMILY_TYPES, GESTURES, HAIR, SKIN_TONES
from copperplate.recipes.requests import request_of_recipe
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from copperplate.model import CanonicalRecipe, PictureRequest

OPENAI = OpenAIImages(key="k", clock=FakeClock())
SIDES = st.integers(64, 2_048)
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "familyType": st.sampled_from(sorted(FAMILY_TYPES)),
        "gesture": st.sampled_from(sorted(GESTURES)),
        "hair": st.sampled_from(sorted(HAIR)),
        "skinTone": st.sampled_from(sorted(SKIN_TONES)),
        "accessories": st.lists(st.sampled_from(sorted(ACCESSORIES)), max_size=4),
        "background": st.sampled_from(sorted(BACKGROUNDS)),
        "size": st.builds("{}x{}".format, SIDES, SIDES),
    },
)


def kept(request: PictureRequest) -> CanonicalRecipe:
    """The recipe as the ledger answers it."""
    recipe: CanonicalRecipe = json.loads(json.dumps(request.recipe))
    return recipe


@given(
    prompt=st.text(min_size=1, max_size=60),
    width=SIDES,
    height=SIDES,
    seed=st.just("") | st.integers(0, MAX_SEED).map(str),
    settings=st.sampled_from([(), ("num_inference_steps=4", "enable_safety_checker=true")]),
)
def test_an_image_has_its_keys_again(prompt: str, width: int, height: int, seed: str, settings: Any) -> None:
    try:
        asked = image_request(
            prompt=prompt,
            width=width,
            height=height,
            seed=seed,
            settings=settings,
            format=PictureFormat.JPG,
            model="fal-ai/flux/schnell",
        )
    except InvalidText:
        return
    assert request_of_recipe(kept(asked)) == asked


@given(configuration=CONFIGURATIONS)
def test_a_memoji_has_its_keys_again(configuration: dict[str, Any]) -> None:
    asked = memoji_request(configuration, provider=OPENAI)
    assert request_of_recipe(kept(asked)) == asked


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"format": "webp"},
        {"format": "png", "w": 48},
        {"format": "avif", "thumb": 32},
        {"w": 64, "h": 32, "fit": "contain", "q": 60},
        {"format": "auto"},
        {"seed": 7, "model": "copperplate/painter-1", "q": 40},
    ],
)
def test_an_image_is_made_in_the_first_form_that_was_asked_for(form: dict[str, Any]) -> None:
    item = read_item({"prompt": "a fox & a hare", "width": 96, "height": 64, **form}, memory_services())
    paths = (*item.paths, "/96x64.webp?text=another")
    assert request_of_recipe(kept(item.picture_request), paths) == item.picture_request


@pytest.mark.parametrize(
    "path",
    ["", "/", "/64x64.jpg", "/96x64.gif?text=a", "/96x64.jpg?w=0", "/96x64.jpg?w=1&w=2", "/32x3.jpg", "\ud800?w=%ff"],
)
def test_an_address_that_asks_for_no_form_of_it_leaves_the_usual_one(path: str) -> None:
    asked = image_request(prompt="a fox", width=96, height=64, format=PictureFormat.JPG, model="m")
    assert request_of_recipe(kept(asked), (path,)) == asked


def test_a_memoji_is_its_original_whatever_form_was_asked_for() -> None:
    asked = memoji_request({}, provider=OPENAI)
    assert request_of_recipe(kept(asked), ("/1024x1024.webp?w=64",)) == asked


def test_a_recipe_of_an_older_template_keeps_its_key() -> None:
    older = {**memoji_request({}, provider=OPENAI).recipe, "template": "memoji-0"}
    assert request_of_recipe(older).recipe["template"] == "memoji-0"
    assert request_of_recipe(older).generation_key != memoji_request({}, provider=OPENAI).generation_key


@pytest.mark.parametrize(
    "changed", [{"kind": "hologram"}, {"kind": 7}, {"width": None}, {"width": "wide"}, {"v": "1"}, {"prompt": "\0"}]
)
def test_what_is_no_recipe_is_refused(changed: dict[str, Any]) -> None:
    recipe = kept(image_request(prompt="a fox", width=64, height=64, format=PictureFormat.JPG, model="m"))
    with pytest.raises((ValueError, TypeError, KeyError)):
        request_of_recipe({**recipe, **changed})
