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
from copperplate.model import PictureFormat
from copperplate.recipes.image import MAX_SEED, image_request
from copperplate.recipes.memoji import memoji_request
from copperplate.recipes.memoji_words import ACCESSORIES, BACKGROUNDS, FAMILY_TYPES, GESTURES, HAIR, SKIN_TONES
from copperplate.recipes.requests import request_of_recipe

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
