"""Real answers of fal and OpenAI, where they are at hand, read by the code that reads them in earnest."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import httpx2
import openai
import pytest
from openai.types import ImagesResponse

from copperplate import prices
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.faults import failed_job
from copperplate.adapters.fal.files import Files
from copperplate.adapters.fal.queue import picture_url
from copperplate.adapters.openai.calls import only_picture, tokens_of
from copperplate.adapters.openai.faults import translate
from copperplate.adapters.system_clock import SystemClock
from copperplate.failure_classes import FailureClass
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import Size
from tests.support.recordings import RECORDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOCK = SystemClock()
ADDRESSES = Addresses(queue_url="https://queue.fal.run")


def interactions(pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(RECORDINGS.glob(pattern)):
        for each in json.loads(path.read_text())["interactions"]:
            yield each["response"] | {"url": each["request"]["url"], "asked": each["request"].get("body")}


def fal_answers(status: int) -> list[dict[str, Any]]:
    answers = [each for each in interactions("fal-*.json") if urlsplit(each["url"]).hostname == "fal.run"]
    return [each for each in answers if each["status"] == status]


def openai_answers(pattern: str, status: int) -> list[dict[str, Any]]:
    return [each for each in interactions(pattern) if each["status"] == status]


def test_there_are_real_answers_to_read() -> None:
    assert len(fal_answers(200)) >= 10
    assert fal_answers(422)
    assert openai_answers("openai-images-*.json", 200)


async def test_fals_real_results_name_one_picture_at_an_address_we_allow() -> None:
    files = Files(ADDRESSES, httpx.create_ssl_context(), seconds=1)
    images = PillowImages()
    for answer in fal_answers(200):
        url = picture_url(json.loads(answer["body"]))
        if str(url).startswith("data:"):
            assert (await images.verify(await files.fetch(url), covers=Size(width=512, height=512))).format == "jpg"
        else:
            assert ADDRESSES.of_file(url).scheme == "https"
    await files.close()
    images.close()


def test_fals_real_refusals_are_invalid_requests_but_for_an_argument_the_model_misses() -> None:
    for answer in fal_answers(422):
        failed = failed_job(httpx.Response(422, text=answer["body"]), now=CLOCK.now())
        is_ours = "value_error.missing" in answer["body"]
        assert failed.failure_class is (FailureClass.ACCOUNT if is_ours else FailureClass.INVALID)
        assert not failed.billed


async def test_openais_real_pictures_are_verified_and_their_tokens_read() -> None:
    images = PillowImages()
    for answer in openai_answers("openai-images-*.json", 200):
        response = ImagesResponse.model_validate_json(answer["body"])
        width, height = (int(side) for side in str(response.size).split("x"))
        found = await images.verify(only_picture(response), covers=Size(width=width, height=height))
        assert (found.format, found.size) == ("png", Size(width=width, height=height))
        assert tokens_of(response)["out"] >= 100
        assert base64.b64encode(only_picture(response)).decode() in answer["body"]
    images.close()


def test_openais_real_answers_billed_what_the_price_table_says() -> None:
    costs = {}
    for answer in openai_answers("openai-images-*.json", 200):
        # The recordings cut long bodies; what is asked stands before the pictures sent along.
        [(model, prompt)] = re.findall(r'"model":"([^"]+)","prompt":"([^"]+)"', answer["asked"])
        response = ImagesResponse.model_validate_json(answer["body"])
        usage = tokens_of(response)
        costs[model] = prices.cost_of_tokens(model, usage)
        width, height = (int(side) for side in str(response.size).split("x"))
        drawn = prices.drawn_tokens(model, str(response.quality), Size(width=width, height=height))
        assert drawn in (None, usage["out"])
        assert usage["text_in"] <= prices.prompt_tokens(prompt)
    assert costs == {"gpt-image-1": None, "gpt-image-2": 12 * 5 + 64 * 8 + 120 * 30}


@pytest.mark.parametrize("status", [400, 401])
def test_openais_real_errors_are_told_apart(status: int) -> None:
    answers = openai_answers("openai-*.json", status)
    assert answers
    client = openai.OpenAI(api_key="k", max_retries=0)
    for answer in answers:
        response = httpx2.Response(status, text=answer["body"], request=httpx2.Request("POST", answer["url"]))
        body = json.loads(answer["body"])
        ours = translate(client._make_status_error("refused", body=body, response=response), now=CLOCK.now())
        if status == 401:
            assert ours.failure_class is FailureClass.ACCOUNT
        else:
            assert ours.failure_class is FailureClass.INVALID
    client.close()
