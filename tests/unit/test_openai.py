"""The OpenAI adapter's pure parts: models, sizes, prices, and what each error of the SDK means."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.openai import DEFAULT_MODEL, RETIRED, OpenAIImages
from copperplate.adapters.openai.faults import ERRORS, translate
from copperplate.errors import Misconfigured, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.model import CanonicalValue

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/images/generations")
RECIPE: dict[str, CanonicalValue] = {
    "kind": "image",
    "prompt": "a fox",
    "width": 1024,
    "height": 1024,
    "model": DEFAULT_MODEL,
}


def adapter(model: str = DEFAULT_MODEL) -> OpenAIImages:
    return OpenAIImages(key="k", clock=FakeClock(), model=model)


# --- models, sizes, prices -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1.5", "gpt-image-1-mini", "chatgpt-image-latest"]
)
def test_retired_model_is_refused_and_the_current_one_named(model: str) -> None:
    with pytest.raises(Misconfigured, match=DEFAULT_MODEL):
        adapter(model)


def test_default_model_is_one_that_lives() -> None:
    assert DEFAULT_MODEL not in RETIRED
    assert adapter().models == (DEFAULT_MODEL,)


@pytest.mark.parametrize("model", ["", "fal-ai/flux/schnell", "gpt image", "gpt-image\n"])
def test_name_that_is_no_model_of_openai_is_refused(model: str) -> None:
    with pytest.raises(Misconfigured):
        adapter(model)


@pytest.mark.parametrize(
    ("asked", "canvas"),
    [
        ((1024, 1024), (1024, 1024)),
        ((2048, 2048), (2048, 2048)),
        ((1536, 864), (1536, 864)),
        ((64, 64), (1024, 1024)),
        ((1000, 1000), (1024, 1024)),
        ((2048, 64), (2048, 688)),
        ((64, 2048), (688, 2048)),
    ],
)
def test_canvas_is_a_size_the_models_take(asked: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert adapter().canvas(Size(width=asked[0], height=asked[1])) == Size(width=canvas[0], height=canvas[1])


def test_every_canvas_keeps_the_documented_rules() -> None:
    for width in range(64, 2049, 31):
        for height in range(64, 2049, 37):
            canvas = adapter().canvas(Size(width=width, height=height))
            assert canvas.width % 16 == canvas.height % 16 == 0
            assert canvas.width <= 3 * canvas.height
            assert canvas.height <= 3 * canvas.width
            assert canvas.width * canvas.height >= 1024 * 1024
            assert max(canvas.width, canvas.height) <= 3840


def test_price_is_that_of_the_canvas_and_the_prompt() -> None:
    assert (
        adapter().price_micro_usd(RECIPE) == 439 * 30 + 9 * 5
    )  # five bytes of prompt are three tokens at most, and six around
    assert adapter().price_micro_usd({**RECIPE, "width": 64, "height": 64}) == 439 * 30 + 9 * 5
    assert adapter().price_micro_usd({**RECIPE, "width": 2048}) == 295 * 30 + 9 * 5  # wider, and fewer patches
    assert adapter().price_micro_usd({**RECIPE, "model": "gpt-image-3"}) is None


# --- errors --------------------------------------------------------------------------------------


def descendants(parent: type[Exception]) -> Iterator[type[Exception]]:
    for child in parent.__subclasses__():
        yield child
        yield from descendants(child)


SDK_ERRORS = sorted({each for each in descendants(openai.OpenAIError) if each.__module__.startswith("openai")}, key=str)
STATUSES = {
    openai.BadRequestError: 400,
    openai.AuthenticationError: 401,
    openai.OAuthError: 401,
    openai.PermissionDeniedError: 403,
    openai.NotFoundError: 404,
    openai.ConflictError: 409,
    openai.UnprocessableEntityError: 422,
    openai.RateLimitError: 429,
    openai.InternalServerError: 500,
}
EXPECTED: dict[type[Exception], tuple[FailureClass, bool]] = {
    openai.BadRequestError: (FailureClass.INVALID, False),
    openai.AuthenticationError: (FailureClass.ACCOUNT, False),
    openai.OAuthError: (FailureClass.ACCOUNT, False),
    openai.PermissionDeniedError: (FailureClass.ACCOUNT, False),
    openai.NotFoundError: (FailureClass.ACCOUNT, False),
    openai.ConflictError: (FailureClass.TRANSIENT, False),
    openai.UnprocessableEntityError: (FailureClass.INVALID, False),
    openai.RateLimitError: (FailureClass.RATE_LIMITED, False),
    openai.InternalServerError: (FailureClass.TRANSIENT, False),
    openai.APIStatusError: (FailureClass.TRANSIENT, False),
    openai.APIConnectionError: (FailureClass.AMBIGUOUS, True),
    openai.APITimeoutError: (FailureClass.AMBIGUOUS, True),
    openai.APIResponseValidationError: (FailureClass.BAD_OUTPUT, True),
}


def status_error(kind: type[openai.APIStatusError], body: object = None, **headers: str) -> openai.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(STATUSES.get(kind, 418), request=REQUEST, headers=named)
    if "message" in inspect.signature(kind.__init__).parameters:
        return kind("refused", response=response, body=body)
    return kind(response=response, body=body)  # type: ignore[call-arg]


def example_of(kind: type[Exception]) -> Exception:
    if issubclass(kind, openai.APIStatusError):
        return status_error(kind, {})
    if issubclass(kind, openai.APIConnectionError):
        return kind(request=REQUEST)
    if issubclass(kind, openai.APIResponseValidationError):
        return kind(httpx2.Response(200, request=REQUEST), None)
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", SDK_ERRORS)
def test_every_error_of_the_sdk_becomes_one_of_ours(kind: type[Exception]) -> None:
    ours = translate(example_of(kind), now=NOW)
    assert isinstance(ours, ProviderFailed)
    expected = EXPECTED.get(kind, (FailureClass.TRANSIENT, True))
    assert (ours.failure_class, ours.billed) == expected


def test_the_list_is_not_empty_and_ends_with_the_base() -> None:
    assert set(SDK_ERRORS) >= set(EXPECTED)
    assert [row[0] for row in ERRORS][-2:] == [openai.OpenAIError, ValueError]


def connection_error(cause: Exception | None, kind: type[openai.APIConnectionError]) -> openai.APIConnectionError:
    error = kind(request=REQUEST)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "cause",
    [
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.UnsupportedProtocol,
        httpx2.LocalProtocolError,
        httpx2.ProxyError,
    ],
)
@pytest.mark.parametrize("kind", [openai.APIConnectionError, openai.APITimeoutError])
def test_request_that_never_left_costs_nothing(cause: Any, kind: type[openai.APIConnectionError]) -> None:
    ours = translate(connection_error(cause("x"), kind), now=NOW)
    assert isinstance(ours, ProviderFailed)
    assert (ours.failure_class, ours.billed) == (FailureClass.TRANSIENT, False)


@pytest.mark.parametrize(
    "cause",
    [httpx2.ReadTimeout("x"), httpx2.ReadError("x"), httpx2.WriteError("x"), httpx2.RemoteProtocolError("x"), None],
)
def test_request_that_may_have_arrived_is_ambiguous(cause: Exception | None) -> None:
    ours = translate(connection_error(cause, openai.APIConnectionError), now=NOW)
    assert isinstance(ours, ProviderFailed)
    assert (ours.failure_class, ours.billed) == (FailureClass.AMBIGUOUS, True)


def test_moderation_is_told_apart_from_other_bad_requests() -> None:
    ours = translate(status_error(openai.BadRequestError, {"code": "moderation_blocked"}), now=NOW)
    assert isinstance(ours, ProviderFailed)
    assert (ours.failure_class, ours.billed) == (FailureClass.MODERATED, False)


def test_rate_limit_passes_on_its_wish() -> None:
    ours = translate(status_error(openai.RateLimitError, {}, retry_after="12"), now=NOW)
    assert isinstance(ours, ProviderFailed)
    assert ours.retry_after == timedelta(seconds=12)


def test_error_page_of_a_gateway_counts_as_billed() -> None:
    ours = translate(status_error(openai.InternalServerError, "<html>502</html>"), now=NOW)
    assert isinstance(ours, ProviderFailed)
    assert (ours.failure_class, ours.billed) == (FailureClass.TRANSIENT, True)


def test_error_we_cannot_place_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        translate(KeyError("x"), now=NOW)
