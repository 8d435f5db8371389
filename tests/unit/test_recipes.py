"""From text and URLs to keys: what is equal, what differs, what is refused."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from copperplate.errors import (
    CopperplateError,
    InvalidModel,
    InvalidRequest,
    InvalidSeed,
    InvalidSize,
    InvalidText,
    Misconfigured,
)
from copperplate.model import PictureFormat, PictureRequest, Rendition
from copperplate.recipes.canonical import cache_key, canonical_bytes
from copperplate.recipes.image import (
    DEFAULT_MODEL,
    ImageRecipe,
    image_request,
    rendition_key,
    rendition_recipe,
    standard_settings,
)
from copperplate.recipes.objects import original_key
from copperplate.recipes.text import WHITE_SPACE, fold_text
from copperplate.recipes.url import parse_picture_path, parse_picture_query

if TYPE_CHECKING:
    import random

SUNSET_KEY = "3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3"
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


def request_of(url: str) -> PictureRequest:
    path, _, query = url.partition("?")
    parsed = parse_picture_path(path)
    assert parsed is not None
    width, height, picture_format = parsed
    asked = parse_picture_query(query.encode())
    model = asked.model or DEFAULT_MODEL
    return image_request(
        prompt=asked.text,
        width=width,
        height=height,
        format=picture_format,
        model=model,
        seed=asked.seed,
        settings=standard_settings(model),
    )


def recipe_of(**parts: Any) -> ImageRecipe:
    return ImageRecipe(**({"prompt": "x", "width": 64, "height": 64, "model": "m"} | parts))


# --- golden keys: a change here is a change of every key ever stored ---------------------------


def test_the_key_of_a_picture_never_changes() -> None:
    picture_request = request_of("/1024x1024.jpg?text=A%20beautiful%20sunset%20over%20the%20sea")
    spelled = (
        '{"height":1024,"kind":"image","model":"fal-ai/flux/schnell","prompt":"A beautiful sunset over the sea",'
        '"seed":"","settings":["enable_safety_checker=true","num_inference_steps=4"],"v":1,"width":1024}'
    )
    assert canonical_bytes(picture_request.recipe) == spelled.encode()
    assert picture_request.generation_key == SUNSET_KEY == hashlib.sha256(spelled.encode()).hexdigest()
    assert picture_request.rendition_key == "51db04f95e0aca7a85207e456fd0dec6086ac143a704c6046dd63ad161c0b4f8"


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        ({"v": 1, "kind": "x"}, "6f5bba9d4dacac7ef2cdbd5e5cb0ecbb6257ab285209288ad9a04e32123c0101"),
        (
            {"v": 1, "kind": "x", "a": ["é", '"\\\b\f\n\r\t\x01\x1f\x7f\u2028😀'], "B": True, "n": 2**53 - 1},
            "052585762ba2bd14aba868bf6c803428beb932cddd5bce1e64d985f72bb80fa0",
        ),
        (
            {"v": 1, "kind": "memoji", "empty": [], "no": False, "n": -7, "text": ""},
            "40d843dc66b7f298cca2ca6f259fc234a6a374ea49925663bf59ff238402c1c2",
        ),
    ],
)
def test_the_key_of_a_recipe_never_changes(recipe: dict[str, Any], key: str) -> None:
    assert cache_key(recipe) == key


def test_the_keys_of_renditions_never_change() -> None:
    renditions = ((PictureFormat.JPG, 85), (PictureFormat.WEBP, 85), (PictureFormat.PNG, None))
    keys = [rendition_key(SUNSET_KEY, Rendition(format=name, quality=quality)) for name, quality in renditions]
    assert [*keys, original_key(SUNSET_KEY)] == [
        "51db04f95e0aca7a85207e456fd0dec6086ac143a704c6046dd63ad161c0b4f8",
        "197fcdfe0be3c2ada1ff31d95470ab3ad24cdaad93b18e2f809b401959a39857",
        "b73b2d288e1dff365a7688f65d10ab49c86a9a5fc98d188cf3585fa646a52e04",
        "3d0fb1f7fcf6ca25a7e5d64721195f4891b1077de6ed5ec097f8b03314154bf9",
    ]


def test_a_png_has_no_quality_in_its_recipe() -> None:
    assert "quality" not in rendition_recipe(SUNSET_KEY, Rendition(format=PictureFormat.PNG, quality=7))
    assert rendition_recipe(SUNSET_KEY, Rendition(format=PictureFormat.JPG, quality=None))["quality"] == 85


# --- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  a\t\r\n b\u3000", "a b"),
        ("e\u0301", "é"),
        ("\u1112\u1161\u11ab", "한"),
        ("\u212b", "Å"),
        ("\u2000\u2001x", "x"),
        ("\u200b\ufeff\u180e", "\u200b\ufeff\u180e"),
        ("Cat", "Cat"),
        ("x" * 1_000, "x" * 1_000),
        (" " * 19_999 + "x", "x"),
        ("e\u0301" * 1_000, "é" * 1_000),
        ("\u03b1\u0313\u0300\u0345" * 1_000, "\u1f82" * 1_000),
    ],
)
def test_text_folds_to_one_spelling(text: str, folded: str) -> None:
    assert fold_text(text) == folded


def test_white_space_is_one_list_of_25_code_points() -> None:
    assert len(WHITE_SPACE) == 25
    assert fold_text("a" + "".join(WHITE_SPACE) + "b") == "a b"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "empty"),
        (" \u3000\n", "empty"),
        ("x" * 1_001, "1,001"),
        ("x" * 20_001, "20,001"),
        (" " * 20_001, "20,001"),
        ("a" + "\u0301\u0323" * 5_000, "10,001"),
        ("a\0b", r"U\+0000"),
        ("a\x1b[0m", r"U\+001B"),
        ("a\x7f", r"U\+007F"),
        ("a\x9f", r"U\+009F"),
        ("a\ud800", r"U\+D800.*UTF-8"),
        ("\udfff", r"U\+DFFF"),
    ],
)
def test_what_is_not_text_is_refused_with_a_reason(text: str, hint: str) -> None:
    with pytest.raises(InvalidText, match=hint):
        fold_text(text)


@given(TEXTS)
@settings(deadline=None)
def test_folding_is_settled_after_once_and_blind_to_composition(text: str) -> None:
    assume(text.strip("".join(WHITE_SPACE)))
    folded = fold_text(text)
    assert fold_text(folded) == folded
    assert fold_text(unicodedata.normalize("NFD", text)) == folded
    assert fold_text(f"\n {text}\u3000") == folded


# --- canonical bytes ---------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.text(st.characters(max_codepoint=127, exclude_characters="\0"), max_size=8).filter(
            lambda name: name not in {"v", "kind"}
        ),
        st.one_of(TEXTS, st.booleans(), st.integers(1 - 2**53, 2**53 - 1), st.lists(TEXTS, max_size=3)),
    )
)
@settings(deadline=None)
def test_canonical_bytes_read_back_as_the_recipe_in_any_order(members: dict[str, Any]) -> None:
    recipe = {"v": 1, "kind": "x", **members}
    body = canonical_bytes(recipe)
    assert json.loads(body) == recipe
    assert list(json.loads(body)) == sorted(recipe)
    assert canonical_bytes(dict(reversed(recipe.items()))) == body


@pytest.mark.parametrize(
    ("member", "error"),
    [
        ({"a": 1.0}, TypeError),
        ({"a": None}, TypeError),
        ({"a": {}}, TypeError),
        ({"a": ("b",)}, TypeError),
        ({"a": [1]}, TypeError),
        ({"a": [["b"]]}, TypeError),
        ({1: "b"}, TypeError),
        ({"v": True}, TypeError),
        ({"v": "1"}, TypeError),
        ({"kind": 1}, TypeError),
        ({"a": 2**53}, ValueError),
        ({"a": -(2**53)}, ValueError),
        ({"é": 1}, ValueError),
        ({"a\0": 1}, ValueError),
        ({"a": "\0"}, ValueError),
        ({"a": ["\0"]}, ValueError),
        ({"a": "\ud800"}, ValueError),
    ],
)
def test_what_is_not_canonical_is_refused(member: dict[Any, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        canonical_bytes({"v": 1, "kind": "x", **member})


def test_a_recipe_names_its_version_and_kind() -> None:
    with pytest.raises(TypeError, match="version"):
        canonical_bytes({"kind": "x"})
    with pytest.raises(TypeError, match="kind"):
        canonical_bytes({"v": 1})


# --- the image recipe --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"prompt": ""}, InvalidText),
        ({"prompt": 1}, InvalidText),
        ({"prompt": b"x"}, InvalidText),
        ({"width": 63}, InvalidSize),
        ({"width": "64"}, InvalidSize),
        ({"width": True}, InvalidSize),
        ({"height": 2_049}, InvalidSize),
        ({"height": 64.0}, InvalidSize),
        ({"height": -(10**30)}, InvalidSize),
        ({"model": ""}, InvalidModel),
        ({"model": "a b"}, InvalidModel),
        ({"model": "é"}, InvalidModel),
        ({"model": "m" * 201}, InvalidModel),
        ({"model": None}, InvalidModel),
        ({"seed": "-1"}, InvalidSeed),
        ({"seed": " 1"}, InvalidSeed),
        ({"seed": "1\n"}, InvalidSeed),
        ({"seed": "1.0"}, InvalidSeed),
        ({"seed": "٣"}, InvalidSeed),
        ({"seed": str(2**64)}, InvalidSeed),
        ({"seed": "9" * 5_000}, InvalidSeed),
        ({"seed": 1}, InvalidSeed),
        ({"settings": ("steps",)}, Misconfigured),
        ({"settings": ("a=1", "a=2")}, Misconfigured),
        ({"settings": (1,)}, Misconfigured),
        ({"colour": "red"}, InvalidRequest),
    ],
)
def test_a_wrong_part_raises_its_own_error(parts: dict[str, Any], error: type[CopperplateError]) -> None:
    with pytest.raises(error) as refusal:
        recipe_of(**parts)
    assert type(refusal.value) is error
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("seed", "canonical"), [("", ""), ("0", "0"), ("000", "0"), ("007", "7"), (f"0{2**64 - 1}", str(2**64 - 1))]
)
def test_a_seed_is_a_plain_decimal(seed: str, canonical: str) -> None:
    assert recipe_of(seed=seed).seed == canonical


def test_settings_are_sorted_and_each_counts_once() -> None:
    assert recipe_of(settings=("b=2", "a=1", "b=2")).settings == ("a=1", "b=2")


def test_a_prompt_is_in_no_repr() -> None:
    assert "secret" not in repr(recipe_of(prompt="secret"))
    assert "secret" not in repr(request_of("/64x64.jpg?text=secret"))
    assert "secret" not in repr(parse_picture_query(b"text=secret"))


# --- what is one picture, and what is not ------------------------------------------------------


@given(TEXTS, st.randoms())
@settings(deadline=None)
def test_every_spelling_of_a_request_has_the_same_keys(text: str, rng: random.Random) -> None:
    assume(text.strip("".join(WHITE_SPACE)))
    plain = request_of(f"/64x128.jpg?text={quote(text, safe='')}")
    everywhere = "".join(f"%{byte:02x}" for byte in text.encode())
    parts = [f"text={everywhere}", "seed=", f"model={quote(DEFAULT_MODEL)}", "utm_source=x", "cb=1"]
    rng.shuffle(parts)
    for query in (
        "&".join(parts),
        f"prompt={quote_plus(text)}",
        f"text={quote(unicodedata.normalize('NFD', text), safe='')}",
        f"text={quote(unicodedata.normalize('NFC', text), safe='')}&fbclid=y",
        f"text=+{quote_plus(text)}%0A",
    ):
        assert request_of(f"/64x128.jpeg?{query}") == plain


def test_formats_share_one_generation() -> None:
    picture_requests = [request_of(f"/64x64.{name}?text=a") for name in ("jpg", "png", "webp")]
    assert len({picture_request.generation_key for picture_request in picture_requests}) == 1
    assert len({picture_request.rendition_key for picture_request in picture_requests}) == 3


WANTS = st.tuples(
    st.text("ab|,1\u0410A é", min_size=1, max_size=4).filter(str.strip),
    st.integers(64, 70),
    st.integers(64, 70),
    st.sampled_from(["m", "n"]),
    st.sampled_from(["", "0", "1"]),
    st.lists(st.sampled_from(["a=1", "a=2", "b=1"]), unique_by=lambda each: each[0]),
)


@given(WANTS, WANTS)
@settings(deadline=None, max_examples=1_000)
def test_different_recipes_have_different_keys(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    names = ("prompt", "width", "height", "model", "seed", "settings")
    first, second = (recipe_of(**dict(zip(names, (*each[:5], tuple(each[5])), strict=True))) for each in (one, other))
    assert (cache_key(first.canonical()) == cache_key(second.canonical())) == (first == second)


@pytest.mark.parametrize(
    "url",
    [
        "/64x65.jpg?text=a", "/65x64.jpg?text=a", "/64x64.jpg?text=A", "/64x64.jpg?text=%D0%B0", "/64x64.jpg?text=a.",
        "/64x64.jpg?text=a&seed=0", "/64x64.jpg?text=a&model=m", "/64x64.jpg?text=a%2B", "/64x64.jpg?text=a%E2%80%8B",
    ],
)  # fmt: skip
def test_a_change_that_can_change_a_pixel_changes_the_generation(url: str) -> None:
    assert request_of(url).generation_key != request_of("/64x64.jpg?text=a").generation_key
