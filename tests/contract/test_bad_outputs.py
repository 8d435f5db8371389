"""Whatever a provider sends that is not the picture asked for: nothing is completed, nothing is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import GenerationFailed
from copperplate.failure_classes import FailureClass
from copperplate.testing import GENERATE
from tests.standin.drawings import SPOILT
from tests.support.provider_harness import provider_at, request_of

if TYPE_CHECKING:
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness

# Whole, and not the picture asked for. What else a job of fal's may come to is in test_collecting.py: it is kept.
WHOLE = [
    *("black", "white", "invisible", "too_small", "too_narrow", "one_pixel", "oversized"),
    *("bomb", "animated", "gif", "bmp", "tiff", "two_images"),
]
OF_OPENAI = [
    *SPOILT,
    "two_images",
    "no_images",
    "images_missing",
    "images_null",
    "result_list",
    "result_null",
    "bytes_are_text",
    "bytes_not_base64",
]
OF_OPENAI += ["bytes_number", "html_answer", "broken_json", "flood_answer=60000000", "gzip_answer"]
CASES = [("fal", each) for each in WHOLE] + [("openai", each) for each in OF_OPENAI]


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 45
    assert len(set(CASES)) == len(CASES)


@pytest.mark.parametrize(("name", "scenario"), CASES)
async def test_bad_output_is_never_completed(
    name: str, scenario: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(provider_at(name, standin), look=timedelta(seconds=0.6))
    asked = request_of(harness.provider, f"a fox [{scenario}]")
    for _ in range(2):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(asked, GENERATE)
        assert (failed.value.failure_class, failed.value.http_status) == (FailureClass.BAD_OUTPUT, 502)
    assert standin.scenario_log.posts.total() == 1
    assert (await harness.ledger.generation_stats()).total_completed == 0
    assert (await harness.ledger.kind_stats("image")).stored_bytes == 0


@pytest.mark.parametrize("name", ["fal", "openai"])
async def test_good_output_is_completed(name: str, standin: Standin, open_harness: OpenHarness) -> None:
    harness = open_harness(provider_at(name, standin))
    await harness.coordinator.find(request_of(harness.provider, "a fox"), GENERATE)
    assert (await harness.ledger.generation_stats()).total_completed == 1
