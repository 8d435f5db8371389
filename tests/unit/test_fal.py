"""The fal adapter's pure parts: what is asked, where we go, what each error means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import fal_client
import httpx
import pytest

from copperplate.adapters.fal import Fal
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.faults import SUBMIT_ERRORS, failed_job, no_answer, refused_submit
from copperplate.adapters.fal.jobs import JOB_ANSWERS, Asked, Form, Meaning, Trouble, form_of, meaning_of, refused
from copperplate.adapters.fal.queue import Queue, parse_units, picture_url
from copperplate.adapters.fal.receipts import read_receipt
from copperplate.adapters.fal.recipe import arguments_of, canvas_of, model_parameters, price_of
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.retry_after import parse_retry_after
from copperplate.errors import Misconfigured, ProviderFailed, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.model import Size
from copperplate.recipes.image import DEFAULT_MODEL, STANDARD_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.model import CanonicalValue

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RECIPE: dict[str, CanonicalValue] = {
    "kind": "image",
    "prompt": "a red fox",
    "width": 1024,
    "height": 1024,
    "model": DEFAULT_MODEL,
    "seed": "",
}


def answer(status: int, body: object = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, str):
        return httpx.Response(status, text=body, headers=named)
    return httpx.Response(status, json=body, headers=named)


# --- what is asked -------------------------------------------------------------------------------


def test_settings_are_those_that_sql_and_explain_assume() -> None:
    assert model_parameters(DEFAULT_MODEL) == STANDARD_SETTINGS[DEFAULT_MODEL]


@pytest.mark.parametrize(
    ("asked", "canvas"),
    [
        ((1024, 1024), (1024, 1024)),
        ((2048, 2048), (2048, 2048)),
        ((1920, 1080), (1920, 1088)),
        ((1000, 1000), (1024, 1024)),
        ((64, 64), (512, 512)),
        ((200, 100), (1024, 512)),
        ((100, 1000), (512, 2048)),  # no 512 on its short side in that ratio: the rest is cut off
        ((64, 2048), (512, 2048)),
        ((2047, 65), (2048, 512)),
    ],
)
def test_canvas_is_a_size_flux_draws_well(asked: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert canvas_of(Size(width=asked[0], height=asked[1])) == Size(width=canvas[0], height=canvas[1])


@pytest.mark.parametrize(
    ("side", "price"), [(64, 3_000), (1024, 3_000), (1025, 6_000), (1280, 6_000), (1449, 9_000), (2048, 12_000)]
)
def test_price_counts_started_megapixels_of_the_canvas(side: int, price: int) -> None:
    assert price_of({**RECIPE, "width": side, "height": side}) == price


def test_price_of_a_model_we_have_none_for_is_unknown() -> None:
    assert price_of({**RECIPE, "model": "fal-ai/flux-9"}) is None


@pytest.mark.parametrize("seed", ["0", "42", "17454220438242315174", "18446744073709551615"])
def test_seed_is_a_number_in_json_beyond_what_a_signed_one_holds(seed: str) -> None:
    body = httpx.Request("POST", "https://x", json=arguments_of({**RECIPE, "seed": seed})).content
    assert f'"seed":{seed}'.encode() in body


def test_arguments_of_a_model_we_do_not_know_name_no_steps_and_no_seed() -> None:
    arguments = arguments_of({**RECIPE, "model": "fal-ai/flux-2", "width": 64})
    assert set(arguments) == {"prompt", "image_size", "num_images", "enable_safety_checker", "output_format"}


@pytest.mark.parametrize("model", ["", "flux", "fal-ai/../x", "fal-ai/flux?x=1", "https://x/y", "fal-ai/a/", "a b/c"])
def test_model_that_could_change_the_address_is_refused(model: str) -> None:
    with pytest.raises(Misconfigured, match="COPPERPLATE_IMAGE_MODEL"):
        Fal(key="k", clock=FakeClock(), model=model)


# --- where we go ---------------------------------------------------------------------------------

FAL = Addresses(queue_url="https://queue.fal.run")
LOCAL = Addresses(queue_url="http://127.0.0.1:8100")


@pytest.mark.parametrize(
    "url",
    [
        "https://fal.media/files/lion/a.png",
        "https://v3.fal.media/files/a.png?x=1",
        "https://v3b.fal.media/a",
        "https://fal.media:443/a",
        "https://storage.googleapis.com/bucket/a.png?X-Goog-Signature=00%2F",
    ],
)
def test_pictures_are_fetched_from_fal(url: str) -> None:
    assert str(FAL.of_file(url)).startswith("https://")
    assert str(LOCAL.of_file(url)).startswith("https://")


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "fal.media/a.png",
        "//fal.media/a.png",
        "https:///a.png",
        "http://fal.media/a.png",
        "ftp://fal.media/a.png",
        "file:///etc/passwd",
        "https://fal.media:8443/a.png",
        "https://fal.media:80/a.png",
        "https://user@fal.media/a.png",
        "https://user:word@fal.media/a.png",
        "https://fal.media@example.com/a.png",
        "https://fal.media\\@example.com/a.png",
        "https://example.com#@fal.media/a.png",
        "https://example.com?.fal.media/a.png",
        "https://fal.media.example.com/a.png",
        "https://notfal.media/a.png",
        "https://.fal.media.evil/a.png",
        "https://fal.media./a.png",
        "https://fal\uff0emedia/a.png",
        "https://f\u0430l.media/a.png",
        "https://xn--fl-7kc.media/a.png",
        "https://storage.googleapis.com.example.com/a",
        "https://bucket.storage.googleapis.com/a",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/a.png",
        "https://[::ffff:169.254.169.254]/a.png",
        "https://2852039166/a.png",
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "http://127.0.0.1:8100/a.png",
        "https://fal.media/a b.png",
        "https://fal.media/a\n.png",
        "https://fal.media\t/a.png",
        "https://fal.media/" + "a" * 5000,
        "https://[fal.media/a.png",
        "https://fal.media:99999/a.png",
    ],
)
def test_pictures_are_fetched_from_nowhere_else(url: object) -> None:
    with pytest.raises(Uncollected):
        FAL.of_file(url)


EXTENDED = Addresses(queue_url="https://queue.fal.run", result_hosts=("cdn.example.com", ".example.net"))


@pytest.mark.parametrize("host", ["cdn.example.com", "example.net", "a.example.net", "a.b.example.net", "v3.fal.media"])
def test_hosts_of_pictures_can_be_extended(host: str) -> None:
    assert EXTENDED.of_file(f"https://{host}/a.png").host == host


@pytest.mark.parametrize("host", ["a.cdn.example.com", "example.com", "notexample.net", "example.net.evil.org"])
def test_an_extension_covers_what_it_names_alone(host: str) -> None:
    with pytest.raises(Uncollected, match=f"COPPERPLATE_RESULT_HOSTS: '{host}'"):
        EXTENDED.of_file(f"https://{host}/a.png")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8101/a", "http://localhost:8100/a", "https://127.0.0.1:8100/a"])
def test_loopback_means_that_very_address(url: str) -> None:
    assert LOCAL.of_file("http://127.0.0.1:8100/files/a.png").port == 8100
    with pytest.raises(Uncollected):
        LOCAL.of_file(url)


def test_a_queue_elsewhere_opens_no_door_to_its_files() -> None:
    with pytest.raises(Uncollected):
        Addresses(queue_url="https://proxy.example.com").of_file("https://proxy.example.com/a.png")


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run.example.com/x",
        "http://queue.fal.run/x",
        "https://queue.fal.run:444/x",
        "https://fal.run/x",
    ],
)
def test_our_key_goes_to_the_queue_only(url: str) -> None:
    assert FAL.of_job("https://queue.fal.run/fal-ai/flux/requests/1/status").path.endswith("/status")
    with pytest.raises(Uncollected):
        FAL.of_job(url)


# --- what each error means -----------------------------------------------------------------------


def descendants(parent: type[Exception]) -> Iterator[type[Exception]]:
    for child in parent.__subclasses__():
        yield child
        yield from descendants(child)


HTTPX_ERRORS = sorted({each for each in descendants(httpx.HTTPError) if each.__module__.startswith("httpx")}, key=str)
NOT_SENT = {
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
}


@pytest.mark.parametrize("foreign", HTTPX_ERRORS)
def test_submit_without_an_answer_is_ambiguous_unless_it_certainly_never_left(foreign: type[httpx.HTTPError]) -> None:
    error = foreign.__new__(foreign)
    failed = no_answer(error)
    expected = (FailureClass.TRANSIENT, False) if foreign in NOT_SENT else (FailureClass.AMBIGUOUS, True)
    assert (failed.failure_class, failed.billed) == expected


def test_table_of_submit_errors_ends_with_their_base_so_that_none_passes_through() -> None:
    assert SUBMIT_ERRORS[-1][0] is httpx.HTTPError
    assert len(HTTPX_ERRORS) >= 18
    assert set(HTTPX_ERRORS) >= NOT_SENT


def test_fal_client_raises_no_class_we_do_not_know() -> None:
    raised = {name for name in vars(fal_client) if name.endswith("Error")}
    raised |= {each.__name__ for each in descendants(fal_client.FalClientError)}
    assert raised == {"FalClientError", "FalClientHTTPError", "FalClientTimeoutError"}


MODERATED_DETAIL = [{"loc": ["body", "prompt"], "msg": "no", "type": "content_policy_violation"}]


@pytest.mark.parametrize(
    ("response", "failure_class", "billed"),
    [
        (answer(422, {"detail": MODERATED_DETAIL}), FailureClass.MODERATED, False),
        (answer(422, {"detail": "no", "error_type": "content_policy_violation"}), FailureClass.MODERATED, False),
        (answer(422, {"detail": "no"}, x_fal_error_type="content_policy_violation"), FailureClass.MODERATED, False),
        (answer(422, {"detail": [{"msg": "field required"}]}), FailureClass.INVALID, False),
        (answer(422, {"detail": "text"}), FailureClass.INVALID, False),
        (answer(400, {"detail": "no"}), FailureClass.INVALID, False),
        (answer(413, "too large"), FailureClass.INVALID, False),
        (answer(403, {"detail": "no"}), FailureClass.ACCOUNT, False),
        (answer(408, "slow"), FailureClass.TRANSIENT, False),
        (answer(409, "busy"), FailureClass.TRANSIENT, False),
        (answer(429, {"detail": "slow down"}), FailureClass.RATE_LIMITED, False),
        (answer(499, {"detail": "cancelled", "error_type": "client_cancelled"}), FailureClass.TRANSIENT, False),
        (answer(500, {"detail": "no"}), FailureClass.TRANSIENT, False),
        (answer(502, "<html>"), FailureClass.TRANSIENT, True),
        (answer(503, "<html>", x_fal_request_id="1"), FailureClass.TRANSIENT, False),
        (answer(504, {"detail": "no", "error_type": "request_timeout"}), FailureClass.TRANSIENT, False),
        (answer(504, "<html>"), FailureClass.TRANSIENT, True),
        (answer(307, ""), FailureClass.TRANSIENT, False),
        (answer(500, [1]), FailureClass.TRANSIENT, True),
        (answer(600, {"detail": "no"}), FailureClass.BAD_OUTPUT, True),
    ],
)
def test_answer_decides_class_and_bill(response: httpx.Response, failure_class: FailureClass, billed: bool) -> None:
    for failed in (failed_job(response, now=NOW), refused_submit(response, now=NOW)):
        assert isinstance(failed, ProviderFailed)
        assert (failed.failure_class, failed.billed) == (failure_class, billed)


TYPED = [{"loc": ["body"], "msg": "no", "type": "generation_timeout"}]
FORMS = {Form.MODEL: {"detail": TYPED}, Form.DETAIL: {"detail": "no", "error_type": "x"}, Form.FOREIGN: "<html>"}
STATUSES = (300, 307, 400, 401, 402, 403, 404, 408, 409, 410, 413, 422, 425, 429, 499, 500, 502, 503, 504, 599)


def is_failure_of_the_job(asked: Asked, status: int, form: Form) -> bool:
    """What docs/providers.md says, in other words than the table."""
    if asked is Asked.STATUS or form is Form.FOREIGN or status < 400:
        return False
    if status == 422 or (form is Form.MODEL and (status == 400 or status >= 500)):
        return True
    return asked is Asked.FAILED_RESULT and status >= 500


@pytest.mark.parametrize("asked", Asked)
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("status", STATUSES)
def test_noted_job_is_dropped_for_what_says_that_it_failed_and_for_nothing_else(
    asked: Asked, form: Form, status: int
) -> None:
    response = answer(status, FORMS[form])
    assert form_of(response) is form
    error = refused(asked, response, now=NOW)
    meaning = meaning_of(asked, status, form)
    assert (meaning is Meaning.FAILED) is is_failure_of_the_job(asked, status, form)
    assert isinstance(error, ProviderFailed) is (meaning is Meaning.FAILED)
    assert isinstance(error, Trouble) is (meaning is Meaning.AGAIN)
    # A key that is refused is mended by an operator: nothing changes within seconds.
    assert (meaning is Meaning.LATER) is (status in (401, 402, 403) and meaning is not Meaning.FAILED)


def test_table_of_answers_about_a_job_ends_with_a_row_for_all_others() -> None:
    assert JOB_ANSWERS[-1] == (frozenset(Asked), range(1_000), frozenset(Form), Meaning.AGAIN)


@pytest.mark.parametrize("body", [[1], {"detail": []}, {"detail": [{"msg": "no"}]}, {"detail": ""}, {}])
def test_detail_of_another_form_is_not_the_models_word(body: object) -> None:
    assert form_of(answer(500, body)) is not Form.MODEL


# --- receipts ------------------------------------------------------------------------------------

BASE = "https://queue.fal.run/fal-ai/flux/requests/id-1"
OWN = {"request_id": "id-1", "status_url": f"{BASE}/status?x=1", "response_url": f"{BASE}/response"}


@pytest.mark.parametrize(
    ("body", "header", "urls"),
    [
        (OWN, None, (f"{BASE}/status?x=1", f"{BASE}/response")),
        ({"request_id": "id-1"}, None, (f"{BASE}/status", BASE)),
        ({**OWN, "status_url": "https://evil.example.com/x", "response_url": 7}, None, (f"{BASE}/status", BASE)),
        ({"status_url": f"{BASE}/status"}, None, (f"{BASE}/status", BASE)),
        ({"response_url": BASE}, None, (f"{BASE}/status", BASE)),
        ("<html>", "id-1", (f"{BASE}/status", BASE)),
        ({"request_id": 7}, "id-1", (f"{BASE}/status", BASE)),
    ],
)
def test_receipt_needs_an_id_and_no_more(body: object, header: str | None, urls: tuple[str, str]) -> None:
    response = answer(200, body, **({"x_fal_request_id": header} if header else {}))
    job = read_receipt(response, queue_url="https://queue.fal.run", model="fal-ai/flux/schnell", addresses=FAL)
    assert job.request_id == "id-1"
    assert job.urls == {"status_url": urls[0], "response_url": urls[1]}


@pytest.mark.parametrize("body", ["", [], {}, {"request_id": "../x"}, {"request_id": ""}, {"request_id": "a" * 201}])
def test_receipt_without_an_id_is_lost(body: object) -> None:
    with pytest.raises(ProviderFailed) as lost:
        read_receipt(answer(200, body), queue_url="https://queue.fal.run", model="fal-ai/x", addresses=FAL)
    assert lost.value.failure_class is FailureClass.AMBIGUOUS


def test_job_of_a_workflow_lies_below_its_namespace() -> None:
    job = read_receipt(
        answer(200, {"request_id": "1"}), queue_url="https://q", model="workflows/me/mine/x", addresses=FAL
    )
    assert job.urls["response_url"] == "https://q/workflows/me/mine/requests/1"


def test_what_is_kept_of_an_error_does_not_repeat_the_prompt() -> None:
    detail = [{"loc": ["body"], "msg": "not allowed", "type": "value_error", "input": "a secret wish"}]
    assert "secret" not in str(failed_job(answer(422, {"detail": detail}), now=NOW))


# --- small parsers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("1000000000", 86_400),
        ("9" * 500, 86_400),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60),
        ("Fri, 20 Nov 2026 13:01:00 +0100", 60),
        ("Fri, 20 Nov 2026 12:01:00 -0000", 60),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("Fri, 20 Nov 9999 11:00:00 GMT", 86_400),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("\u0661", None),
        ("Fri, 99 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_and_never_believed_beyond_a_day(
    header: str | None, seconds: int | None
) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(header, now=NOW) == expected


@pytest.mark.parametrize(
    ("header", "units"),
    [
        ("1", 1_000_000),
        (" 1.5 ", 1_500_000),
        ("0", 0),
        ("0.000001", 1),
        ("0.0000001", 1),
        ("1000000", 1_000_000_000_000),
        *[(nothing, None) for nothing in ("-1", "NaN", "Infinity", "", None, "many", "1e999999", "1000000.1")],
    ],
)
def test_billable_units_are_read_in_millionths_where_they_can_be_so(header: str | None, units: int | None) -> None:
    assert parse_units(header) == units


def test_one_unflagged_picture_is_a_result() -> None:
    assert picture_url({"images": [{"url": "u"}], "has_nsfw_concepts": [False]}) == "u"
    assert picture_url({"images": [{"url": "u"}]}) == "u"


@pytest.mark.parametrize("flags", [[True], [False, True], True, "yes", {"sexual": 1}])
def test_flagged_picture_is_moderated_whatever_form_the_flag_has(flags: object) -> None:
    with pytest.raises(ProviderFailed) as failed:
        picture_url({"images": [{"url": "u"}], "has_nsfw_concepts": flags})
    assert (failed.value.failure_class, failed.value.billed) == (FailureClass.MODERATED, True)


class NotedSleep(FakeClock):
    """Sleeps for no time, and notes for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 4))


async def test_job_is_asked_after_at_growing_distances_a_second_at_most() -> None:
    at_work = fal_client.InProgress(logs=None)
    statuses: list[fal_client.Status] = [fal_client.Queued(position=0), *[at_work] * 5]
    statuses.append(fal_client.Completed(logs=None, metrics={}))

    async def status() -> fal_client.Status:
        return statuses.pop(0)

    clock = NotedSleep()
    queue = Queue(
        key="k",
        url="https://queue.fal.run",
        clock=clock,
        seconds=60,
        poll_first_seconds=0.2,
        retry_seconds=1,
        retention=timedelta(days=1),
        result_hosts=(),
    )
    await queue._wait(cast(Any, SimpleNamespace(status=status)))
    await queue.close()
    assert clock.slept == [0.2, 0.3, 0.45, 0.675, 1, 1]
