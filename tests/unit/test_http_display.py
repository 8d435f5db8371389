"""Display parameters over HTTP: one bill for every form of a picture, and a clear 400 for what is none."""

from __future__ import annotations

import contextlib
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from copperplate.errors import InvalidRequest
from copperplate.recipes.url import parse_picture_url
from tests.support.memory_services import MemoryServices
from tests.support.painting_services import painting_services
from tests.support.pictures import MODEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.support.memory_services import MemoryServices


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    async with painting_services() as made:
        yield made


IGNORED = "x-copperplate-ignored"
WRONG = [
    "0",
    "-1",
    "1e9",
    "640.5",
    "0640",
    "٦٤٠",
    "６４０",
    "6４0",
    "640px",
    "",
    "+640",
    "%2B640",
    "1000000000",
    "640 ",
]


async def test_every_form_of_a_picture_is_one_generation(client: httpx.AsyncClient, services: MemoryServices) -> None:
    sizes = {}
    for query in ("w=32", "w=48&h=16", "thumb=32&fit=contain", "w=9999", "q=40", "w=33&q=99"):
        for ending in ("jpg", "png", "webp", "avif"):
            answer = await client.get(f"/128x64.{ending}?text=a&{query}")
            assert answer.status_code == 200
            sizes[query] = Image.open(BytesIO(answer.content)).size
    assert sizes == {
        "w=32": (32, 16),
        "w=48&h=16": (48, 16),
        "thumb=32&fit=contain": (32, 16),
        "w=9999": (128, 64),
        "q=40": (128, 64),
        "w=33&q=99": (48, 24),
    }
    assert services.image_provider.submits == 1


async def test_equal_forms_are_one_rendition(client: httpx.AsyncClient) -> None:
    keys = [
        (await client.get(f"/128x64.webp?text=a&{query}")).headers["x-copperplate-key"]
        for query in ("", "w=128", "w=2048", "q=85", "q=80", "w=128&h=64", "fit=cover")
    ]
    assert len(set(keys)) == 1


async def test_parameters_without_effect_are_named(client: httpx.AsyncClient) -> None:
    for query, ignored in (("q=60&w=32", "q"), ("fit=cover&zoom=2", "zoom, fit"), ("W=32", "W")):
        answer = await client.get(f"/64x64.png?text=a&{query}")
        assert (answer.status_code, answer.headers[IGNORED]) == (200, ignored)


@pytest.mark.parametrize("name", ["w", "h", "thumb", "q"])
async def test_wrong_numbers_are_refused_and_cost_nothing(
    client: httpx.AsyncClient, services: MemoryServices, name: str
) -> None:
    for value in WRONG:
        beside = "w=64&" if name == "h" else ""
        answer = await client.get(f"/64x64.jpg?text=a&{beside}{name}={quote(value, safe='%')}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_display"), value
        assert answer.json()["detail"].startswith(f"{name} is {unquote(value)!a}. It may be a whole number")
        assert answer.headers["cache-control"] == "no-store"
    for query, code in (
        (f"{name}=64&{name}=64", "invalid_query"),
        ("h=64", "invalid_display"),
        ("fit=fill", "invalid_display"),
    ):
        answer = await client.get(f"/64x64.jpg?text=a&{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert services.image_provider.submits == 0


names = st.sampled_from(["w", "h", "fit", "q", "thumb", "zoom"])
values = st.sampled_from(["1", "64", "640", "99999", "cover", "contain", "100"]) | st.text(max_size=5)


@settings(deadline=None)
@given(st.dictionaries(names, values, max_size=4), st.sampled_from(["jpg", "png", "webp", "avif"]))
def test_no_display_parameter_makes_another_generation(display: dict[str, str], ending: str) -> None:
    def keys(query: str) -> str:
        url = parse_picture_url(
            f"/512x256.{ending}", query.encode(), default_model=MODEL, model_parameters=lambda _: ()
        )
        assert url is not None
        return url.picture_request.generation_key

    asked = "&".join(["text=a", *(f"{name}={quote(value)}" for name, value in display.items())])
    with contextlib.suppress(InvalidRequest):
        assert keys(asked) == keys("text=a")
