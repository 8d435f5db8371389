"""The fal adapter on the wire, against the stand-in: one POST, strict answers, caps, jobs left to be resumed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import GenerationFailed, ProviderFailed, StillGenerating, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.imaging.header import MAX_BODY_BYTES
from copperplate.model import Job, Outcome
from copperplate.testing import GENERATE
from tests.standin.drawings import number_of
from tests.standin.fal_queue import FOREIGN_FILES
from tests.standin.scenario_log import Scenario
from tests.support.provider_harness import KEY, fal_at, recipe_of, request_of
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.fal import Fal
    from tests.standin.server import Standin
    from tests.support.provider_harness import OpenHarness


@pytest.fixture
async def fal(standin: Standin) -> AsyncIterator[Fal]:
    fal = fal_at(standin.url)
    yield fal
    await fal.close()


async def made(fal: Fal, prompt: str, **asked: Any) -> bytes:
    return (await fal.collect(await fal.submit(recipe_of(fal, prompt, **asked)))).body


async def failure_of(fal: Fal, prompt: str) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as failed:
        await made(fal, prompt)
    return failed.value


async def test_submit_is_one_post_that_says_what_a_cache_needs(fal: Fal, standin: Standin) -> None:
    recipe = recipe_of(fal, "a red fox", width=1920, height=1080, seed="17454220438242315174")
    job = await fal.submit(recipe)
    assert [each["method"] for each in standin.scenario_log.requests] == ["POST"]
    sent = standin.scenario_log.requests[0]
    assert sent["path"] == "/fal-ai/flux/schnell"
    assert sent["body"] == {
        "prompt": "a red fox",
        "image_size": {"width": 1920, "height": 1088},
        "num_inference_steps": 4,
        "num_images": 1,
        "enable_safety_checker": True,
        "output_format": "png",
        "seed": 17454220438242315174,
    }
    headers = sent["headers"]
    assert headers["x-fal-no-retry"] == "1"
    assert headers["x-app-fal-disable-fallback"] == "true"
    assert headers["x-fal-object-lifecycle-preference"] == '{"expiration_duration_seconds": 86400}'
    assert set(job.urls) == {"status_url", "response_url"}
    assert all(url.startswith(standin.url) for url in job.urls.values())


async def test_job_is_collected_with_the_units_it_is_billed_in_millionths(fal: Fal, standin: Standin) -> None:
    job = await fal.submit(recipe_of(fal, "a red fox", width=1280, height=1280))
    picture = await fal.collect(job)
    assert number_of(picture.body) == 1
    assert picture.usage == {"micro_units": 2_000_000}
    assert standin.scenario_log.bill() == {"fal": {"megapixels": 2, "micro_usd": 6_000}}


@pytest.mark.parametrize("scenario", ["nsfw", "two_images"])
async def test_job_without_a_picture_tells_what_it_billed_all_the_same(scenario: str, fal: Fal) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await fal.collect(await fal.submit(recipe_of(fal, f"a fox [{scenario}]")))
    assert failed.value.usage == {"micro_units": 1_000_000}


async def test_job_that_is_collected_twice_tells_its_units_twice_as_it_was_made_once(fal: Fal) -> None:
    job = await fal.submit(recipe_of(fal, "a red fox"))
    first, again = await fal.collect(job), await fal.collect(job)
    assert (first.body, first.usage) == (again.body, again.usage)
    assert first.usage == {"micro_units": 1_000_000}


async def test_two_jobs_at_once_get_each_its_own_picture(fal: Fal, standin: Standin) -> None:
    first, second = await asyncio.gather(*(fal.submit(recipe_of(fal, name)) for name in ("a", "b")))
    pictures = await asyncio.gather(fal.collect(second), fal.collect(first))
    assert [f"standin-{number_of(each.body):06d}" for each in pictures] == [second.request_id, first.request_id]


async def test_key_is_sent_to_the_queue_and_never_to_where_pictures_lie(fal: Fal, standin: Standin) -> None:
    await made(fal, "a red fox")
    for request in standin.scenario_log.requests:
        assert ("authorization" in request["headers"]) is not request["path"].startswith("/files/")


async def test_everything_works_over_tls(standin_tls: Standin) -> None:
    fal = fal_at(standin_tls.url)
    assert number_of(await made(fal, "a red fox")) == 1
    await fal.close()


async def test_certificate_nobody_vouches_for_is_refused_before_anything_is_sent(
    standin_tls: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    fal = fal_at(standin_tls.url)
    failed = await failure_of(fal, "a red fox")
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    assert not standin_tls.scenario_log.posts
    await fal.close()


@pytest.mark.parametrize("scenario", ["redirect_once", "data_url", "slow=0.1", "drop_status=2"])
async def test_picture_arrives_by_other_ways_too(scenario: str, fal: Fal) -> None:
    assert number_of(await made(fal, f"a fox [{scenario}]")) == 1


# --- submits that are not taken, or whose answer is lost ------------------------------------------


async def test_queue_that_refuses_the_connection_costs_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        fal = fal_at(f"http://127.0.0.1:{unused.getsockname()[1]}")
        failed = await failure_of(fal, "a red fox")
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    await fal.close()


async def test_host_without_an_address_costs_nothing() -> None:
    fal = fal_at("https://queue.invalid")
    failed = await failure_of(fal, "a red fox")
    assert (failed.failure_class, failed.billed) == (FailureClass.TRANSIENT, False)
    await fal.close()


@pytest.mark.parametrize(
    "scenario",
    [
        "drop",
        "html_answer",
        "empty_answer",
        "broken_json",
        "receipt_useless",
        "receipt_html",
        "flood_receipt=1100000",
        "gzip_receipt",
    ],
)
async def test_submit_whose_receipt_is_lost_or_useless_is_ambiguous(scenario: str, fal: Fal, standin: Standin) -> None:
    failed = await failure_of(fal, f"a fox [{scenario}]")
    assert (failed.failure_class, failed.billed) == (FailureClass.AMBIGUOUS, True)
    assert standin.scenario_log.posts.total() == 1


@pytest.mark.parametrize(
    "scenario",
    [
        "receipt_foreign",
        "receipt_without_id",
        "receipt_without_url",
        "receipt_without_cancel",
        "receipt_id_alone",
        "receipt_id_number",
    ],
)
async def test_receipt_that_names_its_job_is_followed(scenario: str, fal: Fal, standin: Standin) -> None:
    assert number_of(await made(fal, f"a fox [{scenario}]")) == 1
    assert standin.scenario_log.posts.total() == 1


async def test_submit_that_is_not_answered_in_time_is_ambiguous(
    fal: Fal, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copperplate.adapters.fal.queue.SUBMIT_SECONDS", 0.2)
    assert (await failure_of(fal, "a fox [slow_submit=1]")).failure_class is FailureClass.AMBIGUOUS
    assert standin.scenario_log.posts.total() == 1


@pytest.mark.parametrize(
    ("scenario", "failure_class"),
    [
        ("http_400", FailureClass.INVALID),
        ("http_408", FailureClass.TRANSIENT),
        ("http_413", FailureClass.INVALID),
        ("http_422", FailureClass.INVALID),
        ("http_429", FailureClass.RATE_LIMITED),
        ("http_500", FailureClass.TRANSIENT),
        ("http_502_html", FailureClass.TRANSIENT),
        ("http_503", FailureClass.TRANSIENT),
        ("http_503_html", FailureClass.TRANSIENT),
        ("http_504", FailureClass.TRANSIENT),
        ("moderated", FailureClass.MODERATED),
        ("redirect_post", FailureClass.TRANSIENT),
        ("redirect_post=http", FailureClass.TRANSIENT),
    ],
)
async def test_submit_that_is_refused_is_sent_once(
    scenario: str, failure_class: FailureClass, fal: Fal, standin: Standin
) -> None:
    assert (await failure_of(fal, f"a fox [{scenario}]")).failure_class is failure_class
    assert standin.scenario_log.posts.total() == 1


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("none", None), ("-1", None), ("1000000000", 86_400)])
async def test_wish_of_a_rate_limit_is_passed_on(value: str, seconds: int | None, fal: Fal) -> None:
    failed = await failure_of(fal, f"a fox [http_429={value}]")
    assert failed.retry_after == (None if seconds is None else timedelta(seconds=seconds))


async def test_wish_may_be_a_date(fal: Fal) -> None:
    wish = (await failure_of(fal, "a fox [http_429=date]")).retry_after
    assert wish is not None
    assert 50 <= wish.total_seconds() <= 61


async def test_key_is_in_no_message_and_no_representation(fal: Fal, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        failed = await failure_of(fal, "a fox [http_401]")
    assert (failed.failure_class, "FAL_KEY" in str(failed)) == (FailureClass.ACCOUNT, True)
    assert KEY not in caplog.text + str(failed) + repr(fal)


# --- jobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "failure_class", "billed"),
    [
        ("job_moderated", FailureClass.MODERATED, False),
        ("job_invalid", FailureClass.INVALID, False),
        ("job_500", FailureClass.TRANSIENT, False),
        ("job_503", FailureClass.TRANSIENT, False),
        ("job_504", FailureClass.TRANSIENT, False),
        ("job_failed_200", FailureClass.TRANSIENT, False),
        ("nsfw", FailureClass.MODERATED, True),
        ("nsfw_unlisted", FailureClass.MODERATED, True),
    ],
)
async def test_job_that_ends_badly_fails_by_its_class(
    scenario: str, failure_class: FailureClass, billed: bool, fal: Fal
) -> None:
    failed = await failure_of(fal, f"a fox [{scenario}]")
    assert (failed.failure_class, failed.billed) == (failure_class, billed)


@pytest.mark.parametrize(
    "scenario",
    [
        "stuck",
        *(f"status_{status}" for status in (401, 403, 404, 410, 422, 429, 500, 504)),
        *(f"result_{status}" for status in (302, 400, 401, 403, 404, 410, 429, 500, 502, 504)),
        *(f"result_http_{status}" for status in (404, 500, 502)),
        *(f"file_{status}" for status in (204, 302, 400, 401, 403, 404, 410, 429, 500, 503)),
        "drop_file",
        "file_slow",
        "redirect_loop",
        "redirect_metadata",
        "redirect_foreign",
        "file_plain_http",
        "status_html",
        "status_list",
        "result_html",
        "result_list",
        "result_null",
        "unknown_status=paused",
        "no_position",
        "gzip_status",
        "gzip_result",
        "gzipped",
        *(each for each in FOREIGN_FILES if not each.startswith("file_data_")),
    ],
)
async def test_job_that_may_yet_be_had_is_left_to_be_collected(scenario: str, standin: Standin) -> None:
    fal = fal_at(standin.url, seconds=0.6, retry_seconds=0.1)
    with pytest.raises(Uncollected):
        await made(fal, f"a fox [{scenario}]")
    assert standin.scenario_log.posts.total() == 1
    await fal.close()


@pytest.mark.parametrize("change", ["status_url", "response_url"])
async def test_noted_job_that_lies_elsewhere_is_never_called(change: str, fal: Fal, standin: Standin) -> None:
    job = await fal.submit(recipe_of(fal, "a red fox"))
    tampered = Job(request_id=job.request_id, urls={**job.urls, change: "https://queue.example.com/x"})
    with pytest.raises(Uncollected, match="COPPERPLATE_FAL_QUEUE_URL"):
        await fal.collect(tampered)
    assert len(standin.scenario_log.requests) == 1


async def test_redirect_to_another_port_of_this_machine_is_never_followed(fal: Fal) -> None:
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        elsewhere.setblocking(False)
        with pytest.raises(Uncollected):
            await made(fal, f"a fox [redirect_to={elsewhere.getsockname()[1]}]")
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


async def test_slow_bytes_end_after_their_time(standin: Standin) -> None:
    fal = fal_at(standin.url, seconds=0.4)
    with pytest.raises(Uncollected):
        await made(fal, "a fox [slowloris]")
    await fal.close()

    patient = fal_at(standin.url, retry_seconds=0)
    (await patient._queue.get())._files._seconds = 0.4
    with pytest.raises(Uncollected, match=r"did not arrive within 0\.4 s"):
        await made(patient, "a fox [slowloris]")
    await patient.close()


async def test_bytes_are_counted_while_they_arrive(fal: Fal) -> None:
    failed = await failure_of(fal, "a fox [oversized]")
    assert failed.failure_class is FailureClass.BAD_OUTPUT
    assert str(MAX_BODY_BYTES) in str(failed)


@pytest.mark.parametrize("what", ["status", "result"])
async def test_answers_about_a_job_are_counted_while_they_arrive(what: str, standin: Standin) -> None:
    fal = fal_at(standin.url, retry_seconds=0)
    assert number_of(await made(fal, f"a fox [flood_{what}=900000]")) == 1
    endless = f"a fox [flood_{what}=100000000000]"
    with pytest.raises(Uncollected, match="cannot be read"):
        await made(fal, endless)
    assert standin.scenario_log.posts[endless] == 1
    await fal.close()


# --- deadline and resumption ---------------------------------------------------------------------


async def test_job_past_the_deadline_is_collected_by_whoever_asks_later(
    standin: Standin, open_harness: OpenHarness
) -> None:
    seconds = wall(0.5)  # long enough for the submit to arrive
    fal = fal_at(standin.url, seconds=seconds)
    harness = open_harness(fal, lease_seconds=2 * seconds)
    asked = request_of(fal, "a fox [stuck]")
    with pytest.raises(StillGenerating):
        await harness.coordinator.find(asked, GENERATE)
    [drawing] = standin.scenario_log.drawings.values()
    drawing.scenario = Scenario()  # now it is done
    outcome = None
    while outcome is None:
        with contextlib.suppress(StillGenerating):
            outcome = (await harness.another_process(lease_seconds=2 * seconds).find(asked, GENERATE)).outcome
    assert outcome is Outcome.GENERATED
    assert standin.scenario_log.posts == {"a fox [stuck]": 1}


async def test_key_that_was_refused_is_tried_again_within_seconds_however_often_it_was(
    standin: Standin, open_harness: OpenHarness
) -> None:
    fal = fal_at(standin.url)
    harness = open_harness(fal)
    standin.scenario_log.tell("*", "http_401")
    for _ in range(6):
        with pytest.raises(GenerationFailed) as failed:
            await harness.coordinator.find(request_of(fal, "a red fox"), GENERATE)
        assert failed.value.retry_after_seconds is not None
        assert failed.value.retry_after_seconds <= 15
        # The rest is over.
        harness.ledger._generations[request_of(fal, "a red fox").generation_key].retry_at = 0.0
        harness.ledger._breakers["fal"].open_until = 0.0
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 0
    standin.scenario_log.tell("*", "ok")
    assert (await harness.coordinator.find(request_of(fal, "a red fox"), GENERATE)).outcome is Outcome.GENERATED
