"""Explaining a request, and comparing two."""

from __future__ import annotations

import json

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.openai import OpenAIImages
from copperplate.errors import InvalidConfiguration, InvalidQuery, InvalidSize, InvalidText, NotFound
from copperplate.model import PictureFormat
from copperplate.recipes.explain import compare, explain
from copperplate.recipes.explain_memoji import explain_memoji
from copperplate.recipes.image import image_request, standard_settings
from copperplate.recipes.memoji import memoji_request

URL = "/1024x768.jpg?text=Zoe%CC%88++%C2%A0sails&utm_source=x"


def test_every_step_from_request_to_key_is_shown() -> None:
    shown = explain(URL)
    assert shown.path == "/1024x768.jpg"
    assert shown.parameters == ("text=Zoe%CC%88++%C2%A0sails", "utm_source=x")
    assert (shown.parameters_used, shown.parameters_ignored) == (("text",), ("utm_source",))
    assert shown.text_decoded == "Zoe\u0308  \u00a0sails"
    assert shown.text_composed == "Zoë  \u00a0sails"
    assert shown.text_folded == "Zoë sails"
    assert shown.defaults == {
        "model": "fal-ai/flux/schnell",
        "seed": '""',
        "settings": "enable_safety_checker=true num_inference_steps=4",
        "quality": "85",
    }
    assert json.loads(shown.generation_recipe)["prompt"] == "Zoë sails"
    assert json.loads(shown.rendition_recipe)["generation"] == shown.generation_key
    assert shown.sql == f"select * from public.image_cache where prompt_hash = '{shown.rendition_key}';"


def test_the_keys_explained_are_the_keys_used() -> None:
    shown = explain(URL)
    picture_request = image_request(
        prompt="Zoë sails",
        width=1_024,
        height=768,
        format=PictureFormat.JPG,
        model="fal-ai/flux/schnell",
        settings=standard_settings("fal-ai/flux/schnell"),
    )
    assert (shown.generation_key, shown.rendition_key) == (
        picture_request.generation_key,
        picture_request.rendition_key,
    )


def test_the_table_makes_invisible_characters_visible() -> None:
    table = explain(URL).as_table()
    assert "\\xa0" in table
    assert "utm_source" in table
    assert explain(URL).generation_key in table


def test_the_json_holds_every_step() -> None:
    shown = explain(URL)
    assert json.loads(shown.as_json()) == json.loads(json.dumps(shown.as_dict()))
    assert json.loads(shown.as_json())["text_folded"] == "Zoë sails"


@pytest.mark.parametrize(
    "request_line",
    [
        "https://pictures.example/64x64.png?text=a#part",
        "http://127.0.0.1:8000/64x64.png?text=a",
        "/64x64%2Epng?text=a",
        "/64x64.png?prompt=a&seed=",
    ],
)
def test_host_fragment_and_spelling_reach_no_key(request_line: str) -> None:
    assert explain(request_line).rendition_key == explain("/64x64.png?text=a").rendition_key


def test_canvas_rungs_and_size_are_told() -> None:
    shown = explain("/1024x768.jpg?text=a&w=600&q=80&fit=cover")
    assert (shown.canvas, shown.size, shown.rungs) == ("1024x768", "640x480", {"w": "640", "q": "85"})
    assert (shown.parameters_used, shown.parameters_ignored) == (("text", "w", "q"), ("fit",))
    assert "quality" not in shown.defaults
    assert shown.rendition_key == explain("/1024x768.jpg?text=a&w=640").rendition_key
    assert shown.generation_key == explain("/1024x768.jpg?text=a").generation_key
    assert "w=640, q=85" in shown.as_table()
    for view in ("image_cache", "image_renditions"):
        assert f"from public.{view} where prompt_hash = '{shown.rendition_key}'" in shown.sql
    assert "copperplate." not in shown.sql
    assert explain("/64x64.png?text=a&q=80").rungs == {}


def test_auto_is_explained_as_what_it_falls_back_to() -> None:
    shown = explain("/64x64%2Eauto?text=a&w=32")
    assert (shown.path, shown.format, shown.defaults["format"]) == ("/64x64%2Eauto", "jpg", "jpg")
    assert shown.rendition_key == explain("/64x64.jpg?text=a&w=32").rendition_key


def test_sizes_of_one_canvas_differ_in_the_rendition_only() -> None:
    found = compare(explain("/128x64.jpg?text=a"), explain("/128x64.jpg?text=a&w=48"))
    assert (found.is_same_generation, found.is_same_rendition) == (True, False)
    told = [(each.field, each.first, each.second) for each in found.differences]
    assert told == [("rendition height", None, 24), ("rendition width", None, 48)]
    canvases = compare(explain("/64x64.jpg?text=a&w=32"), explain("/128x128.jpg?text=a&w=32"))
    assert [each.field for each in canvases.differences] == ["height", "width"]


def test_a_deployments_own_model_and_settings_are_explained() -> None:
    shown = explain("/64x64.png?text=a", default_model="painter", model_parameters=lambda model: (f"of={model}",))
    assert json.loads(shown.generation_recipe)["settings"] == ["of=painter"]
    assert "quality" not in shown.defaults
    assert explain("/64x64.png?text=a&model=m&seed=1").defaults == {}
    assert "(none)" in explain("/64x64.png?text=a&model=m&seed=1").as_table()


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        ("/", NotFound),
        ("https://pictures.example", NotFound),
        ("/0x0.jpg?text=a", InvalidSize),
        ("/64x64.jpg", InvalidText),
        ("/64x64.jpg?text=\ud800", InvalidQuery),
    ],
)
def test_a_wrong_request_is_refused_as_the_server_would(request_line: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        explain(request_line)


def test_letters_that_look_the_same_are_told_apart_by_code_point() -> None:
    found = compare(explain("/64x64.jpg?text=A+cat"), explain("/64x64.jpg?text=\u0410+cat"))
    (difference,) = found.differences
    assert (difference.field, found.is_same_generation, found.is_same_rendition) == ("prompt", False, False)
    assert "character 1: U+0041 LATIN CAPITAL LETTER A / U+0410 CYRILLIC CAPITAL LETTER A" in difference.detail
    assert "U+0410" in found.as_table()


def test_a_longer_text_and_another_case_are_told() -> None:
    longer = compare(explain("/64x64.jpg?text=a"), explain("/64x64.jpg?text=ab"))
    assert "the end / U+0062" in longer.differences[0].detail
    case = compare(explain("/64x64.jpg?text=cat"), explain("/64x64.jpg?text=Cat"))
    assert "letter case counts" in case.differences[0].detail


def test_formats_differ_in_the_rendition_only() -> None:
    found = compare(explain("/64x64.jpg?text=a"), explain("/64x64.png?text=a"))
    assert (found.is_same_generation, found.is_same_rendition) == (True, False)
    assert [(each.field, each.first, each.second) for each in found.differences] == [
        ("format", "jpg", "png"),
        ("quality", 85, None),
    ]
    assert "paid once" in found.verdict


def test_two_spellings_of_one_request_do_not_differ() -> None:
    found = compare(explain("/64x64.jpg?text=a+b"), explain("/64x64.jpeg?utm=1&prompt=a%20%20b"))
    assert found.is_same_rendition
    assert found.differences == ()
    assert json.loads(found.as_json())["verdict"].startswith("The same picture")


# --- memoji --------------------------------------------------------------------------------------

OPENAI = OpenAIImages(key="k", clock=FakeClock())


def test_every_step_from_a_configuration_to_its_key_is_shown() -> None:
    shown = explain_memoji('{"hair": " LONG", "skinTone": "dark", "accessories": ["hat", "Cap"]}', provider=OPENAI)
    picture_request = memoji_request(
        {"hair": "long", "skinTone": "dark", "accessories": ["cap", "hat"]}, provider=OPENAI
    )
    assert shown.respelled == {"hair": "long", "accessories": "cap hat"}
    assert {"model", "familyType", "settings"} < set(shown.defaults)
    assert not {"hair", "skinTone"} & set(shown.defaults)
    assert "a baseball cap, a felt hat" in shown.prompt
    assert (shown.generation_key, shown.rendition_key) == (
        picture_request.generation_key,
        picture_request.rendition_key,
    )
    assert shown.sql == f"select * from public.memoji_cache where prompt_hash = '{picture_request.generation_key}';"
    assert all(each in shown.as_table() for each in (shown.generation_key, shown.rendition_key, "hair=long"))
    assert json.loads(shown.as_json()) == shown.as_dict()


def test_two_configurations_are_compared_field_by_field() -> None:
    mother, spelled = (
        explain_memoji(each, provider=OPENAI) for each in ('{"familyType": "mother"}', '{"hair": "bun"}')
    )
    assert [each.field for each in compare(mother, spelled).differences] == ["familyType", "hair"]
    same = compare(mother, explain_memoji('{"familyType": "MOTHER", "hair": null}', provider=OPENAI))
    assert same.is_same_rendition
    assert same.differences == ()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "[" * 100_000),
        *('{"hair": NaN}', '{"self": 1}', '{"hair": "short", "hair": "long"}', '{"size": ' + "1" * 5_000 + "}"),
    ],
)
def test_what_is_no_configuration_is_not_explained(text: str) -> None:
    with pytest.raises(InvalidConfiguration):
        explain_memoji(text, provider=OPENAI)


def test_a_signature_is_no_part_of_an_explanation() -> None:
    plain = explain("/64x64.jpg?text=a&utm=1")
    assert explain("https://h.example/64x64.jpg?s%69g=SECRET&text=a&kid=k&utm=1&exp=3600") == plain
