"""A memoji's configuration: one key for equal wishes, whoever spells them, and prompts that do not drift."""

from __future__ import annotations

import hashlib
import itertools
import random
from typing import Any

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.openai import OpenAIImages
from copperplate.adapters.painter import Painter
from copperplate.errors import InvalidConfiguration, InvalidModel
from copperplate.model import PictureFormat, Rendition, Size
from copperplate.recipes.image import image_request
from copperplate.recipes.kinds import provider_input_of
from copperplate.recipes.memoji import MemojiRecipe, memoji_request
from copperplate.recipes.memoji_words import ACCESSORIES, TEMPLATE, WORDS, describe
from copperplate.recipes.objects import original_key

OPENAI = OpenAIImages(key="k", clock=FakeClock())


def key(**configuration: Any) -> str:
    return memoji_request(configuration, provider=OPENAI).generation_key


def test_defaults_are_those_that_were_promised() -> None:
    picture_request = memoji_request({}, provider=OPENAI)
    assert picture_request.recipe == {
        "accessories": [],
        "background": "auto",
        "colorTheme": "pastel-blue",
        "familyType": "father",
        "gesture": "wave",
        "hair": "short",
        "kind": "memoji",
        "model": "gpt-image-2.5-flare",
        "settings": ["moderation=auto", "quality=medium"],
        "size": "1024x1024",
        "skinTone": "medium",
        "template": TEMPLATE,
        "v": 1,
    }


def test_a_memoji_is_its_own_original_and_a_png() -> None:
    picture_request = memoji_request({"size": "512x640"}, provider=OPENAI)
    assert picture_request.rendition_key == original_key(picture_request.generation_key)
    assert picture_request.rendition == Rendition(format=PictureFormat.PNG, quality=None)
    assert picture_request.size == Size(width=512, height=640)


@pytest.mark.parametrize(
    "spelling",
    [
        {"familyType": "FATHER", "gesture": " wave ", "hair": "Short", "skinTone": "MEDIUM"},
        {"colorTheme": "Pastel Blue", "background": "Auto", "size": "1024X1024"},
        {"colorTheme": "pastel_blue", "accessories": [], "model": "gpt-image-2.5-flare"},
        dict.fromkeys((*WORDS, "accessories", "size", "model")),
    ],
)
def test_explicit_defaults_in_any_spelling_are_the_defaults(spelling: dict[str, Any]) -> None:
    assert key(**spelling) == key()


def test_order_and_repetition_of_accessories_make_no_difference() -> None:
    worn = ["hat", "scarf", "glasses"]
    assert len({key(accessories=[*order, order[0].upper()]) for order in itertools.permutations(worn)}) == 1
    assert key(accessories=worn) != key(accessories=worn[:2])


def test_every_word_of_every_field_is_another_picture() -> None:
    keys = {key(**{field: word}) for field, words in WORDS.items() for word in words}
    keys |= {key(accessories=[word]) for word in ACCESSORIES}
    # The default of each of the six fields is the same picture.
    assert len(keys) == sum(map(len, WORDS.values())) + len(ACCESSORIES) - 5


def test_no_memoji_has_the_key_of_an_image() -> None:
    image = image_request(
        prompt=provider_input_of(memoji_request({}, provider=OPENAI).recipe).prompt[:900],
        width=1_024,
        height=1_024,
        format=PictureFormat.PNG,
        model=OPENAI.models[0],
    )
    assert image.generation_key != key()


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"hair": "green"}, "hair: Choose one of short, long"),
        ({"famlyType": "son"}, "'famlyType' is not a field of a memoji. Known: model, size, familyType"),
        ({"accessories": list(ACCESSORIES)}, "accessories: Choose at most 6."),
        ({"size": "9x9"}, "size: Give WIDTHxHEIGHT in pixels, 64 to 2048 each."),
        ({"gesture": 3}, "gesture: "),
        ({"hair": ""}, "hair: Choose one of short, long"),
        ({"famlyType": None}, "'famlyType' is not a field of a memoji."),
        ({"self": 1}, "'self' is not a field of a memoji."),
        ({"settings": ["a=1"]}, "settings: not a field"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(configuration: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidConfiguration, match=told.replace("(", r"\(")):
        key(**configuration)


def test_a_model_that_is_not_offered_is_refused_and_those_that_are_named() -> None:
    with pytest.raises(InvalidModel, match=r"gpt-image-2\.5-flare"):
        key(model="gpt-image-1")


def test_settings_of_the_provider_are_in_the_key_but_for_the_background() -> None:
    assert memoji_request({}, provider=Painter(FakeClock())).recipe["settings"] == []
    assert key(background="opaque") != key(background="transparent")


def test_the_wording_of_a_template_never_changes() -> None:
    # Another wording makes other pictures: raise TEMPLATE, and add its digest here.
    fields = {field: list(words) for field, words in WORDS.items()}
    said = [
        describe({**{name: rng_words[0] for name, rng_words in fields.items()}, "accessories": [], field: word})
        for field, words in fields.items()
        for word in words
    ]
    everything = list(ACCESSORIES)
    said.append(describe({**{name: words[-1] for name, words in fields.items()}, "accessories": everything}))
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()
    assert {TEMPLATE: digest} == {1: "3c475aaf847deb3b2552ac4f6a6624301ece7712c00940279a04b967604fd75d"}


def test_every_prompt_is_short_enough_and_forbids_text() -> None:
    rng = random.Random(1)
    for _ in range(200):
        configuration = {field: rng.choice(list(words)) for field, words in WORDS.items()}
        configuration["accessories"] = rng.sample(list(ACCESSORIES), 6)  # type: ignore[assignment]
        prompt = provider_input_of(memoji_request(configuration, provider=OPENAI).recipe).prompt
        assert 200 < len(prompt) < 1_500
        assert "No text" in prompt


def test_equal_recipes_are_equal_values_and_show_no_more_than_words() -> None:
    assert MemojiRecipe(model="m") == MemojiRecipe(model="m", familyType="Father")
