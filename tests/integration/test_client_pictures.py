"""TypeScript writes addresses, `srcset` and markup as Python does: the vectors, and random pictures."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from copperplate.errors import InvalidRequest
from copperplate.recipes.display import WIDTHS
from copperplate.recipes.url import parse_picture_url, split_url
from tests.support import markup_vectors
from tests.support.markup_vectors import call

if TYPE_CHECKING:
    from tests.support.typescript_client import TypescriptClient

DOCUMENT: Final = json.loads(markup_vectors.FILE.read_text())
RANDOM_CALLS: Final = 3_000


def test_the_file_is_what_its_cases_give() -> None:
    made = markup_vectors.document()
    assert made == markup_vectors.FILE.read_text(), "run .venv/bin/python -m tests.support.markup_vectors"


@pytest.mark.parametrize("refused", DOCUMENT["refused"], ids=str)
def test_python_refuses_what_the_vectors_refuse(refused: list[Any]) -> None:
    with pytest.raises(InvalidRequest):
        call(*refused)


def test_typescript_answers_what_the_vectors_say(typescript: TypescriptClient) -> None:
    answers = typescript.build(*(each["call"] for each in DOCUMENT["answered"]))
    for vector, told in zip(DOCUMENT["answered"], answers, strict=True):
        assert told == {"answer": vector["answer"], "error": None}, vector["call"]


def test_typescript_refuses_what_the_vectors_refuse(typescript: TypescriptClient) -> None:
    answers = typescript.build(*DOCUMENT["refused"])
    for refused, told in zip(DOCUMENT["refused"], answers, strict=True):
        assert told == {"answer": None, "error": "RangeError"}, refused


def test_loader_of_next_image_answers_what_the_vectors_say(typescript: TypescriptClient) -> None:
    asked = [{name: each[name] for name in ("src", "width", "quality") if each[name]} for each in DOCUMENT["loaded"]]
    answers = typescript.build(*(("loader", each) for each in asked))
    assert [told["answer"] for told in answers] == [each["url"] for each in DOCUMENT["loaded"]]


def test_whatever_next_image_asks_for_few_renditions_are_made(typescript: TypescriptClient) -> None:
    widths = {near for rung in WIDTHS for near in (rung - 1, rung, rung + 1)} | {3_840}
    asked = [(width, quality) for width in sorted(widths) for quality in (1, 40, 41, 60, 61, 75, 80, 85, 86, 100)]
    src = "/1024x768.webp?text=a%20red%20fox&q=60"
    answers = typescript.build(*(("loader", {"src": src, "width": w, "quality": q}) for w, q in asked))
    urls = {str(told["answer"]) for told in answers}
    assert len(urls) == 12 * 5  # rungs below the canvas and the canvas, by qualities
    keys = set()
    for url in urls:
        path, query = split_url(url)
        read = parse_picture_url(path, query.encode(), default_model="painter", model_parameters=lambda _: ())
        assert read is not None
        keys.add(read.picture_request.rendition_key)
    assert len(keys) == len(urls)


def random_call(rng: random.Random) -> tuple[Any, ...]:
    picture = {
        "text": rng.choice(("a", "é & <b>", "狐")),
        "width": rng.randint(62, 2_050),
        "height": rng.randint(62, 2_050),
    }
    side = rng.choice((rng.randint(0, 100), rng.randint(1, 2_100), rng.randint(1, 101_000)))
    name = rng.choice(("pictureUrl", "renditionSize", "srcset"))
    if name == "srcset":
        ratio = (rng.randint(1, 40), rng.randint(1, 40))
        return name, picture, rng.choice(({"ratio": ratio}, {"widths": [side, side * 2]}, {"ratio": ratio, "q": side}))
    box: dict[str, Any] = {"w": side} if rng.random() < 0.3 else {"w": side, "h": rng.randint(1, 3_000)}
    return name, picture, {**box, **({"fit": "contain"} if rng.random() < 0.5 else {})}


def test_typescript_answers_random_calls_as_python_does(typescript: TypescriptClient) -> None:
    rng = random.Random(48)
    calls = [random_call(rng) for _ in range(RANDOM_CALLS)]
    refused = 0
    for asked, told in zip(calls, typescript.build(*calls), strict=True):
        try:
            expected = call(*asked)
        except InvalidRequest:
            refused += 1
            expected = None
        assert told["answer"] == expected, asked
    assert 0.01 < refused / RANDOM_CALLS < 0.5  # neither agrees by refusing everything
