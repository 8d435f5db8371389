"""Paid jobs of fal over real sockets: one glitch costs no second submit, and a result that is gone costs one."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.adapters.judged_transport import JudgedTransport
from copperplate.errors import GenerationFailed, StillGenerating
from copperplate.failure_classes import FailureClass
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.standin.drawings import number_of, numbered
from tests.support.provider_harness import fal_at, request_of

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import PictureRequest
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness, ProviderHarness

# What happens to the first requests of a stage, and then no more.
GLITCHES = (
    *(f"status_{status}_first" for status in (404, 410, 422, 429, 500, 502)),
    "status_drop_first=2",
    *(f"result_{status}_first" for status in (400, 404, 410, 429, 500, 503, 504)),
    "result_404_first=3",
    *(f"result_http_{status}_first" for status in (404, 502)),
    "result_html_first",
    "result_drop_first",
    *(f"file_{status}_first" for status in (204, 400, 403, 404, 410, 429, 500, 503)),
    "file_404_first=3",
    "file_cut_first",
    "file_cut_first=2",
    "file_page_first",
    "file_page_first=3",
    "result_empty_first=3",
    "result_no_images_first=3",
    "result_images_missing_first=3",
    "file_truncated_png_first=3",
    "file_zero_bytes_first=3",
    "file_one_pixel_first=3",
    "image_alone",
    "file_drop_first",
    "file_redirect_loop_first=4",
    "receipt_without_cancel",
    "receipt_id_alone",
    "receipt_foreign",
)
# What lasts longer, or would not change within the wait: whoever asks next is served.
LATER = (
    "status_401_first",
    "status_403_first",
    "result_401_first",
    "result_403_first",
    "result_elsewhere_first",
    "result_404_first=4",
    "file_404_first=4",
)

# No whole picture, or none at all, for good.
KEPT = (
    *("html", "json", "text", "svg", "noise", "zero_bytes", "truncated_jpeg", "truncated_png", "truncated_webp"),
    *("header_only_jpeg", "header_only_png", "broken_checksum", "no_images", "images_missing", "images_null"),
    *("image_is_text", "file_data_text", "file_data_broken", "file_data_html", "file_page"),
)

# Asks of one caller, with a pause of 0.05 s after each.
MOST_ASKS = 400


@pytest.fixture
def harness(standin: Standin, open_harness: OpenHarness) -> ProviderHarness:
    return open_harness(fal_at(standin.url, retry_seconds=8), lease_seconds=10)


async def ask_until_served(process: Coordinator, asked: PictureRequest) -> LookupResult:
    """Ask as a patient caller does, only more often."""
    for _ in range(MOST_ASKS):
        with contextlib.suppress(StillGenerating):
            return await process.find(asked, GENERATE)
        await asyncio.sleep(0.05)
    raise AssertionError("asked for twenty seconds at least, and never served")


@pytest.mark.parametrize("glitch", GLITCHES)
async def test_one_glitch_is_over_within_the_wait(glitch: str, harness: ProviderHarness, standin: Standin) -> None:
    prompt = f"a fox [{glitch}]"
    found = await harness.coordinator.find(request_of(harness.provider, prompt, width=512, height=512), GENERATE)
    assert found.outcome is Outcome.GENERATED
    assert found.body is not None
    assert number_of(found.body) == 1
    assert standin.scenario_log.posts == {prompt: 1}


@pytest.mark.parametrize("glitch", LATER)
async def test_what_is_not_over_within_the_wait_is_left_to_the_next_ask(
    glitch: str, standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(fal_at(standin.url, retry_seconds=0.1), lease_seconds=10)
    prompt = f"a fox [{glitch}]"
    asked = request_of(harness.provider, prompt)
    with pytest.raises(StillGenerating):
        await harness.coordinator.find(asked, GENERATE)
    assert "is kept: provider=fal" in caplog.text
    served = await ask_until_served(harness.another_process(lease_seconds=10), asked)
    assert served.outcome is Outcome.GENERATED
    assert standin.scenario_log.posts == {prompt: 1}


@pytest.mark.parametrize("scenario", ["result_404", "file_404", "status_404", "file_foreign"])
async def test_result_that_is_gone_costs_one_new_submit_after_its_retention(
    scenario: str, standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    retention = timedelta(seconds=2)
    harness = open_harness(fal_at(standin.url, retry_seconds=0.1), lease_seconds=10, retention=retention)
    standin.scenario_log.tell("a red fox", scenario, "ok")
    assert (await ask_until_served(harness.coordinator, request_of(harness.provider, "a red fox"))).outcome is (
        Outcome.GENERATED
    )
    first, second = (each["at"] for each in standin.scenario_log.requests if each["method"] == "POST")
    assert second - first >= retention.total_seconds(), "not before"
    assert caplog.text.count("a paid job is lost") == 1
    assert "is kept" in caplog.text


@pytest.mark.parametrize("spoilt", KEPT)
async def test_what_is_no_whole_picture_is_kept_however_often_it_is_the_same(
    spoilt: str, standin: Standin, open_harness: OpenHarness
) -> None:
    harness = open_harness(fal_at(standin.url, retry_seconds=0.1), look=timedelta(seconds=0.6))
    asked = request_of(harness.provider, f"a fox [{spoilt}]")
    for _ in range(2):
        with pytest.raises(StillGenerating):
            await harness.coordinator.find(asked, GENERATE)
        await asyncio.sleep(0.1)
    assert standin.scenario_log.posts.total() == 1


async def test_one_line_says_what_a_key_is_refused_for_and_none_of_fals_words(
    standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(fal_at(standin.url, retry_seconds=0.1))
    with pytest.raises(StillGenerating):
        await harness.coordinator.find(
            request_of(harness.provider, "grandmother in her garden [result_403_quoting]"), GENERATE
        )
    (line,) = [each for each in caplog.records if each.levelname in {"WARNING", "ERROR"}]
    assert line.levelname == "ERROR"
    assert "is kept: provider=fal reason='the key may not do this (403) - check the rights of FAL_KEY" in caplog.text
    assert "grandmother" not in caplog.text


async def test_many_callers_of_a_result_that_is_gone_share_few_requests(
    standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(fal_at(standin.url, retry_seconds=0.1), collect_pause=timedelta(minutes=5))
    asked = request_of(harness.provider, "a fox [result_404]")
    processes = [harness.another_process() for _ in range(4)]
    for _ in range(5):
        user_requests = [process.find(asked, GENERATE) for process in processes for _ in range(25)]
        answers = await asyncio.gather(*user_requests, return_exceptions=True)
        assert {type(each) for each in answers} == {StillGenerating}
    assert standin.scenario_log.posts.total() == 1
    assert caplog.text.count("is kept") == 1, "one collection for five hundred callers"
    assert len(standin.scenario_log.requests) < 20


async def test_picture_at_a_refused_host_is_paid_once_and_collected_when_the_setting_names_it(
    standin: Standin, caplog: pytest.LogCaptureFixture, open_harness: OpenHarness
) -> None:
    harness = open_harness(fal_at(standin.url, retry_seconds=0.1), lease_seconds=10)
    standin.scenario_log.tell("a red fox", "result_elsewhere")
    asked = request_of(harness.provider, "a red fox")
    with pytest.raises(StillGenerating):
        await harness.coordinator.find(asked, GENERATE)
    assert "COPPERPLATE_RESULT_HOSTS: 'pictures.example.com'" in caplog.text

    mended = fal_at(standin.url, retry_seconds=0.1, result_hosts=(".example.com",))
    fetched: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        fetched.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(numbered(7, 512, 512)))

    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34"]

    inner = httpx.MockTransport(serve)
    (await mended._queue.get())._files._http._transport = JudgedTransport(
        httpx.create_ssl_context(), resolve=resolve, inner=inner
    )
    await harness.provider.close()
    harness.provider = mended
    served = await ask_until_served(harness.another_process(lease_seconds=10), asked)
    assert served.outcome is Outcome.GENERATED
    assert [(each.url.host, each.headers["host"]) for each in fetched] == [("93.184.216.34", "pictures.example.com")]
    assert standin.scenario_log.posts.total() == 1


async def test_job_that_failed_by_fals_own_word_is_not_kept(harness: ProviderHarness, standin: Standin) -> None:
    with pytest.raises(GenerationFailed) as failed:
        await harness.coordinator.find(request_of(harness.provider, "a fox [job_504]"), GENERATE)
    assert failed.value.failure_class is FailureClass.TRANSIENT
    assert standin.scenario_log.posts.total() == 1
