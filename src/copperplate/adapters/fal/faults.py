"""What went wrong at fal, in our words. Foreign errors and status codes stop here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import httpx

from copperplate.adapters.wishes import parse_retry_after
from copperplate.errors import CopperplateError, Misconfigured, ProviderFailed
from copperplate.model import FailureClass

if TYPE_CHECKING:
    from datetime import datetime

logger = logging.getLogger(__name__)

MODERATION: Final = "content_policy_violation"

# A submit that got no answer. The first class that fits decides. What certainly never left us may be
# sent again at leisure; all else may have been taken and be billed.
SubmitRow = tuple[type[httpx.HTTPError], FailureClass, bool, str]
SUBMIT_ERRORS: Final[tuple[SubmitRow, ...]] = (
    (httpx.ConnectError, FailureClass.TRANSIENT, False, "fal's queue cannot be reached"),
    (httpx.ConnectTimeout, FailureClass.TRANSIENT, False, "fal's queue cannot be reached in time"),
    (httpx.PoolTimeout, FailureClass.TRANSIENT, False, "no connection was free in time"),
    (httpx.ProxyError, FailureClass.TRANSIENT, False, "the proxy refused"),
    (httpx.UnsupportedProtocol, FailureClass.TRANSIENT, False, "COPPERPLATE_FAL_QUEUE_URL is no address"),
    (httpx.LocalProtocolError, FailureClass.TRANSIENT, False, "the request could not be written"),
    (httpx.HTTPError, FailureClass.AMBIGUOUS, True, "the submit was sent and its answer was lost"),
)

# A submit, or a job, that was answered with an error. The first row whose range holds the status decides.
StatusRow = tuple[range, FailureClass]
STATUSES: Final[tuple[StatusRow, ...]] = (
    (range(300, 400), FailureClass.TRANSIENT),  # never followed: a repeated POST could be billed twice
    (range(408, 410), FailureClass.TRANSIENT),
    (range(429, 430), FailureClass.RATE_LIMITED),
    (range(499, 500), FailureClass.TRANSIENT),  # cancelled, by nobody we know
    (range(400, 499), FailureClass.INVALID),
    (range(500, 600), FailureClass.TRANSIENT),
)
KEY_STATUSES: Final = (401, 402, 403)


def no_answer(error: httpx.HTTPError) -> ProviderFailed:
    """The failure of a submit that was not answered."""
    for foreign, failure_class, billed, message in SUBMIT_ERRORS:
        if isinstance(error, foreign):
            return ProviderFailed(failure_class, f"{message}: {type(error).__name__}", billed=billed)
    raise error


def refused_submit(response: httpx.Response, *, now: datetime) -> CopperplateError:
    """The failure of a submit that was answered with an error, or with a redirect."""
    if response.status_code in KEY_STATUSES:
        return key_trouble(response)
    if response.status_code == 404:
        return Misconfigured("fal has no such model: check COPPERPLATE_IMAGE_MODEL and COPPERPLATE_MEMOJI_MODEL")
    return failed_job(response, now=now)


def failed_job(response: httpx.Response, *, now: datetime) -> ProviderFailed:
    """The failure that `response` tells of. fal bills neither refusals nor its own errors.

    An error page that is not fal's own may come from a gateway that let the request pass, so it counts as billed.
    """
    body = read_json(response)
    is_fals_own = "detail" in body or "x-fal-request-id" in response.headers
    message = f"{response.status_code} {describe(body, response)}"
    if response.status_code == 422 and is_moderation(body, response):
        return ProviderFailed(FailureClass.MODERATED, message, billed=False)
    wish = parse_retry_after(response.headers.get("retry-after"), now=now)
    for statuses, failure_class in STATUSES:
        if response.status_code in statuses:
            billed = response.status_code >= 500 and not is_fals_own
            return ProviderFailed(failure_class, message, billed=billed, retry_after=wish)
    return ProviderFailed(FailureClass.BAD_OUTPUT, message)


def is_moderation(body: dict[str, Any], response: httpx.Response) -> bool:
    """Whether an error body, or its header, says that the prompt was refused for what it shows."""
    said = {str(body.get("error_type")), str(response.headers.get("x-fal-error-type"))}
    detail = body.get("detail")
    if isinstance(detail, list):
        said.update(str(each.get("type")) for each in detail if isinstance(each, dict))
    return MODERATION in said


def describe(body: dict[str, Any], response: httpx.Response) -> str:
    """What fal itself says of a failure, at most 300 characters, without the prompt it may repeat."""
    detail = body.get("detail")
    if isinstance(detail, list):
        told = [f"{each.get('type')}: {each.get('msg')}" for each in detail if isinstance(each, dict)]
        return "; ".join(told)[:300]
    return str(detail or body.get("error") or response.headers.get("content-type"))[:300]


def key_trouble(response: httpx.Response) -> Misconfigured:
    """One line for the operator, and the failure of whatever needed the key."""
    # One key serves every prompt: this is no prompt's failure, and nobody but an operator can mend it.
    logger.error("fal refuses FAL_KEY with status %d: no picture can be made until it is mended", response.status_code)
    return Misconfigured(f"fal refuses FAL_KEY with status {response.status_code}")


def read_json(response: httpx.Response) -> dict[str, Any]:
    """The object in an answer; an empty one where there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
