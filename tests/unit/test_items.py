"""Items of JSON bodies: the keys and addresses they come to, and every body that is none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import CopperplateError, InvalidRequest, Misconfigured
from copperplate.http.items import MEMBERS, read_item
from copperplate.http.picture_urls import PictureUrls
from copperplate.recipes.kinds import MEMOJI
from copperplate.recipes.memoji import memoji_request
from copperplate.strict_json import parse_object
from copperplate.wishes import Priority
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import MODEL

if TYPE_CHECKING:
    from copperplate.http.items import Item


@pytest.fixture(scope="module")
def services() -> MemoryServices:
    return memory_services()


def as_url(services: MemoryServices, item: Item) -> Any:
    """What the address of an item asks for, read as any picture's."""
    path, _, query = item.paths[0].partition("?")
    return PictureUrls(services.image_provider).read(path, query.encode())


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"prompt": "a red fox"}, "/1024x1024.jpg?text=a%20red%20fox"),
        ({"text": " a\tred  fox ", "kind": "image", "seed": None}, "/1024x1024.jpg?text=a%20red%20fox"),
        ({"text": "a b", "prompt": " a  b"}, "/1024x1024.jpg?text=a%20b"),
        ({"prompt": "a", "width": 640, "height": 480, "format": "png"}, "/640x480.png?text=a"),
        ({"prompt": "a", "dimensions": "64x2048", "format": "jpeg"}, "/64x2048.jpg?text=a"),
        (
            {"prompt": "a", "size": "256x256", "model": MODEL, "seed": 0},
            "/256x256.jpg?text=a&model=copperplate%2Fpainter-1&seed=0",
        ),
        ({"prompt": "a", "seed": 2**64 - 1}, f"/1024x1024.jpg?text=a&seed={2**64 - 1}"),
        ({"prompt": "a", "seed": "0018446744073709551615"}, f"/1024x1024.jpg?text=a&seed={2**64 - 1}"),
        ({"prompt": "a", "w": 300, "q": 41, "format": "webp"}, "/1024x1024.webp?text=a&w=384&q=60"),
        ({"prompt": "a", "w": 600, "h": 300, "fit": "contain"}, "/1024x1024.jpg?text=a&w=600&h=300&fit=contain"),
        ({"prompt": "a", "thumb": 100, "format": "avif"}, "/1024x1024.avif?text=a&w=100&h=100"),
        ({"prompt": "&=?#狐"}, "/1024x1024.jpg?text=%26%3D%3F%23%E7%8B%90"),
    ],
)
def test_an_image_has_the_keys_of_its_address(services: MemoryServices, body: dict[str, Any], path: str) -> None:
    item = read_item(body, services)
    assert item.paths == (path,)
    assert item.picture_request == as_url(services, item).picture_request


def test_the_longest_text_fits_into_an_address(services: MemoryServices) -> None:
    item = read_item({"prompt": "🦊" * 1_000, "seed": 2**64 - 1, "w": 99_999, "h": 99_999}, services)
    assert item.picture_request == as_url(services, item).picture_request


def test_auto_leaves_the_format_to_whoever_loads_the_address(services: MemoryServices) -> None:
    item = read_item({"prompt": "a", "format": "auto", "w": 64}, services)
    assert item.paths == ("/1024x1024.auto?text=a&w=64",)
    assert item.picture_request == read_item({"prompt": "a", "w": 64}, services).picture_request


def test_display_members_without_effect_are_named(services: MemoryServices) -> None:
    item = read_item({"prompt": "a", "format": "png", "q": 60, "fit": "cover"}, services)
    assert (item.paths, set(item.ignored)) == (("/1024x1024.png?text=a",), {"fit", "q"})


def test_a_memoji_is_asked_for_by_its_configuration(services: MemoryServices) -> None:
    configuration = {"familyType": "Mother", "accessories": ["hat", "glasses"], "hair": None, "size": "512x512"}
    plain = read_item({"kind": "memoji", **configuration}, services)
    shown = read_item({"kind": "memoji", **configuration, "w": 60, "format": "webp", "title": "Ann"}, services)
    expected = memoji_request(configuration, provider=services.provider_of(MEMOJI.name))
    assert plain.picture_request == shown.picture_request == expected
    assert plain.paths == (f"/api/images/{expected.generation_key}",)
    assert shown.paths == (f"/api/images/{expected.generation_key}?w=60&format=webp",)
    assert shown.echo == {"title": "Ann"}


def test_echo_and_priority_are_told_as_sent(services: MemoryServices) -> None:
    item = read_item({"prompt": "a", "thread_id": "7", "style": "é" * 200, "title": "", "priority": "low"}, services)
    assert (item.echo, item.priority) == ({"thread_id": "7", "style": "é" * 200, "title": ""}, Priority.LOW)
    assert read_item({"prompt": "a"}, services).priority is None


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ([], "invalid_body", "an array"),
        ("a red fox", "invalid_body", "a string"),
        (None, "invalid_body", "null"),
        (7, "invalid_body", "a number"),
        ({}, "invalid_text", '{"prompt": '),
        ({"prompt": ""}, "invalid_text", '{"prompt": '),
        ({"prompt": " \u3000"}, "invalid_text", '{"prompt": '),
        ({"prompt": 7}, "invalid_text", "prompt is a number"),
        ({"text": ["a"]}, "invalid_text", "text is an array"),
        ({"prompt": "a" * 1_001}, "invalid_text", "1,001"),
        ({"prompt": "a\ud800"}, "invalid_text", "surrogate"),
        ({"prompt": "a\0"}, "invalid_text", "U+0000"),
        ({"prompt": "a", "text": "b"}, "invalid_body", "different"),
        ({"prompt": "a", "width": "640", "height": 480}, "invalid_size", "width is a string"),
        ({"prompt": "a", "width": 640.0, "height": 480}, "invalid_size", "fraction"),
        ({"prompt": "a", "width": True, "height": 480}, "invalid_size", "true or false"),
        ({"prompt": "a", "width": 640}, "invalid_size", "width is there alone"),
        ({"prompt": "a", "width": 640, "height": 0, "w": 64}, "invalid_size", "A side of 0"),
        ({"prompt": "a", "width": 10**4_000, "height": 64}, "invalid_size", "not offered"),
        ({"prompt": "a", "width": 640, "height": 63}, "invalid_size", "63"),
        ({"prompt": "a", "dimensions": "640X480"}, "invalid_size", "dimensions"),
        ({"prompt": "a", "dimensions": "6٤0x480"}, "invalid_size", "dimensions"),
        ({"prompt": "a", "dimensions": 640}, "invalid_size", "dimensions is a number"),
        ({"prompt": "a", "size": "64x64", "dimensions": "64x64"}, "invalid_size", "more than once"),
        ({"prompt": "a", "size": "64x64", "width": 64}, "invalid_size", "width, size"),
        ({"prompt": "a", "format": "gif"}, "invalid_format", "gif"),
        ({"prompt": "a", "format": "JPG"}, "invalid_format", "lower case"),
        ({"prompt": "a", "format": 1}, "invalid_format", "format is a number"),
        ({"prompt": "a", "model": "of-nobody"}, "invalid_model", "Offered"),
        ({"prompt": "a", "model": ["scripted"]}, "invalid_model", "an array"),
        ({"prompt": "a", "seed": -1}, "invalid_seed", "-1"),
        ({"prompt": "a", "seed": 2**64}, "invalid_seed", "seed"),
        ({"prompt": "a", "seed": 1.5}, "invalid_seed", "fraction"),
        ({"prompt": "a", "seed": ""}, "invalid_seed", "a string"),
        ({"prompt": "a", "seed": False}, "invalid_seed", "true or false"),
        ({"prompt": "a", "w": "64"}, "invalid_display", "w is a string"),
        ({"prompt": "a", "w": 0}, "invalid_display", "w is"),
        ({"prompt": "a", "w": -64}, "invalid_display", "w is"),
        ({"prompt": "a", "h": 64}, "invalid_display", "no w"),
        ({"prompt": "a", "thumb": 64, "w": 64}, "invalid_display", "thumb"),
        ({"prompt": "a", "fit": "fill"}, "invalid_display", "fit"),
        ({"prompt": "a", "fit": 1}, "invalid_display", "fit is a number"),
        ({"prompt": "a", "q": 101}, "invalid_display", "q is"),
        ({"prompt": "a", "kind": "Image"}, "invalid_body", "image or memoji"),
        ({"prompt": "a", "kind": "upload"}, "invalid_body", "image or memoji"),
        ({"prompt": "a", "kind": 1}, "invalid_body", "kind is a number"),
        ({"prompt": "a", "priority": "high"}, "invalid_body", "usual or low"),
        ({"prompt": "a", "priority": 1}, "invalid_body", "priority is a number"),
        ({"prompt": "a", "title": 7}, "invalid_body", "title is a number"),
        ({"prompt": "a", "style": "a" * 201}, "invalid_body", "200"),
        ({"prompt": "a", "thread_id": "\0"}, "invalid_body", "thread_id"),
        ({"prompt": "a", "thread_id": "\udc00"}, "invalid_body", "thread_id"),
        ({"prompt": "a", "promt": "b", "n": None}, "unknown_parameter", "body promt."),
        ({"prompt": "a", "placeholder": 1}, "unknown_parameter", "placeholder"),
        ({"prompt": "a", "familyType": "mother"}, "unknown_parameter", "familyType"),
        ({"prompt": "a", "items": []}, "unknown_parameter", "no item has items"),
        ({"prompt": "a", "n": 2}, "unknown_parameter", "the items of a batch alone"),
        ({"kind": "memoji", "prompt": "a"}, "unknown_parameter", "prompt"),
        ({"kind": "memoji", "settings": []}, "unknown_parameter", "settings"),
        ({"kind": "memoji", "hair": "green"}, "invalid_configuration", "hair"),
        ({"kind": "memoji", "hair": 1}, "invalid_configuration", "hair"),
        ({"kind": "memoji", "size": "1x1"}, "invalid_configuration", "size"),
        ({"kind": "memoji", "w": "64"}, "invalid_display", "w is a string"),
    ],
)
def test_a_body_that_is_no_item_says_what_is_wrong(
    services: MemoryServices, body: object, code: str, says: str
) -> None:
    with pytest.raises(CopperplateError) as caught:
        read_item(body, services)
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert says in str(caught.value)


def test_every_type_of_json_has_an_answer_for_every_member(services: MemoryServices) -> None:
    values = parse_object('{"v": [true, 7, -0.5, 1e9, "x", [], {}, null]}')["v"]
    for kind, names in MEMBERS.items():
        for name in names:
            for value in values:
                given = {"kind": kind, **({} if kind == "memoji" else {"prompt": "a"}), name: value}
                with contextlib.suppress(InvalidRequest):
                    read_item(given, services)


def test_a_kind_that_nobody_makes_is_a_fault_of_the_setup() -> None:
    bare = memory_services()
    del bare.kinds["memoji"]  # type: ignore[attr-defined]
    with pytest.raises(Misconfigured):
        read_item({"kind": "memoji"}, bare)
    assert read_item({"prompt": "a"}, bare).picture_request.kind == "image"
