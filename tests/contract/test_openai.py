"""The OpenAI adapter on the wire: the real SDK against the stand-in, one POST whatever happens."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.recipes.memoji import memoji_request
from tests.standin.drawings import number_of
from tests.support.provider_harness import openai_at, recipe_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.openai import OpenAIImages
    from tests.standin.server import Standin


@pytest.fixture
async def images(standin: Standin) -> AsyncIterator[OpenAIImages]:
    images = openai_at(standin.openai_url)
    yield images
    await images.close()


async def failure_of(images: OpenAIImages, scenario: str) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as failed:
        await images.submit(recipe_of(images, f"a fox [{scenario}]"))
    return failed.value


@pytest.mark.parametrize("seed", ["", "3"])
async def test_submit_is_one_post_that_leaves_nothing_to_resolve(
    images: OpenAIImages, standin: Standin, seed: str
) -> None:
    made = await images.submit(recipe_of(images, "a red fox", width=1536, height=864, seed=seed))
    assert number_of(made.body) == 1
    (sent,) = standin.scenario_log.requests
    # No model of OpenAI has a seed: there it only makes another picture.
    assert sent["body"] == {
        "prompt": "a red fox",
        "model": "gpt-image-2.5-flare",
        "n": 1,
        "size": "1536x864",
        "quality": "medium",
        "background": "opaque",
        "moderation": "auto",
        "output_format": "png",
    }
    assert "x-stainless-retry-count" not in sent["headers"] or sent["headers"]["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize("background", ["auto", "opaque", "transparent"])
async def test_background_of_a_memoji_is_sent_as_it_was_asked_for(
    images: OpenAIImages, standin: Standin, background: str
) -> None:
    picture_request = memoji_request({"background": background, "size": "512x512"}, provider=images)
    await images.submit(picture_request.recipe)
    (sent,) = standin.scenario_log.requests
    assert (sent["body"]["background"], sent["body"]["output_format"]) == (background, "png")
    settings = picture_request.recipe["settings"]
    assert isinstance(settings, list)
    assert {f"{name}={sent['body'][name]}" for name in ("quality", "moderation")} == set(settings)


async def test_picture_comes_with_the_tokens_it_is_billed(images: OpenAIImages, standin: Standin) -> None:
    made = await images.submit(recipe_of(images, "a red fox", width=1536, height=1024))
    assert made.usage == {"text_in": 9, "image_in": 0, "out": 342}
    billed = {"text_tokens": 9, "image_tokens": 0, "output_tokens": 342, "micro_usd": 9 * 5 + 342 * 30}
    assert standin.scenario_log.bill() == {"openai": billed}


@pytest.mark.parametrize("scenario", ["two_images", "no_images", "bytes_not_base64"])
async def test_answer_that_is_no_picture_tells_what_it_billed_all_the_same(scenario: str, images: OpenAIImages) -> None:
    failed = await failure_of(images, scenario)
    assert set(failed.usage) == {"text_in", "image_in", "out"}
    assert failed.usage["out"] == 439


async def test_answer_is_counted_while_it_arrives(images: OpenAIImages, standin: Standin) -> None:
    failed = await failure_of(images, "flood_answer=100000000000")
    assert (failed.failure_class, failed.billed) == (FailureClass.BAD_OUTPUT, True)
    assert standin.scenario_log.posts.total() == 1


@pytest.mark.parametrize("scenario", ["usage_missing", "usage_odd"])
async def test_picture_without_readable_usage_is_a_picture(scenario: str, images: OpenAIImages) -> None:
    made = await images.submit(recipe_of(images, f"a fox [{scenario}]"))
    assert (number_of(made.body), made.usage) == (1, {})


async def test_everything_works_over_tls(standin_tls: Standin) -> None:
    images = openai_at(standin_tls.openai_url)
    assert number_of((await images.submit(recipe_of(images, "a red fox"))).body) == 1
    await images.close()


@pytest.mark.parametrize(
    ("scenario", "failure_class", "billed"),
    [
        ("drop", FailureClass.AMBIGUOUS, True),
        ("moderated", FailureClass.MODERATED, False),
        ("http_400", FailureClass.INVALID, False),
        ("http_408", FailureClass.TRANSIENT, False),
        ("http_409", FailureClass.TRANSIENT, False),
        ("http_422", FailureClass.INVALID, False),
        ("http_429", FailureClass.RATE_LIMITED, False),
        ("no_quota", FailureClass.ACCOUNT, False),
        ("http_500", FailureClass.TRANSIENT, False),
        ("http_502_html", FailureClass.TRANSIENT, True),
        ("http_503", FailureClass.TRANSIENT, False),
        ("http_504_html", FailureClass.TRANSIENT, True),
        ("redirect_post", FailureClass.TRANSIENT, False),
        ("html_answer", FailureClass.BAD_OUTPUT, True),
        ("empty_answer", FailureClass.BAD_OUTPUT, True),
        ("broken_json", FailureClass.BAD_OUTPUT, True),
        ("result_list", FailureClass.BAD_OUTPUT, True),
        ("two_images", FailureClass.BAD_OUTPUT, True),
        ("bytes_not_base64", FailureClass.BAD_OUTPUT, True),
    ],
)
async def test_failure_has_its_class_and_costs_one_post(
    scenario: str, failure_class: FailureClass, billed: bool, images: OpenAIImages, standin: Standin
) -> None:
    failed = await failure_of(images, scenario)
    assert (failed.failure_class, failed.billed) == (failure_class, billed)
    assert standin.scenario_log.posts.total() == 1


async def test_call_past_its_deadline_is_ambiguous(standin: Standin) -> None:
    images = openai_at(standin.openai_url, seconds=0.3)
    assert (await failure_of(images, "slow=2")).failure_class is FailureClass.AMBIGUOUS
    assert standin.scenario_log.posts.total() == 1
    await images.close()


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("none", None), ("-1", None), ("1000000000", 86_400)])
async def test_wish_of_a_rate_limit_is_passed_on(value: str, seconds: int | None, images: OpenAIImages) -> None:
    wish = (await failure_of(images, f"http_429={value}")).retry_after
    assert wish == (None if seconds is None else timedelta(seconds=seconds))


async def test_api_that_cannot_be_reached_costs_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        images = openai_at(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        failed = await failure_of(images, "ok")
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    await images.close()
