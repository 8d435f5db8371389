"""What went wrong at fal, in our words. Foreign errors and status codes stop here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httpx

from copperplate.adapters.blame import ANY, CLIENT, SERVER, Answer, Row, Speaker, failure_of, judge
from copperplate.adapters.retry_after import parse_retry_after
from copperplate.errors import ProviderFailed
from copperplate.model import FailureClass
from copperplate.refusals import MAX_SAID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

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

# What every request sends, whatever its prompt, size and seed.
OUR_ARGUMENTS: Final = ("num_images", "enable_safety_checker", "output_format", "num_inference_steps")
_MODEL: Final = "check COPPERPLATE_IMAGE_MODEL, COPPERPLATE_MEMOJI_MODEL and COPPERPLATE_FAL_QUEUE_URL"
SERVICE, GATEWAY = Speaker.SERVICE, Speaker.GATEWAY

# A submit, or a job, that was answered with an error. The first row that fits decides. Words are the types of
# `detail`, `error_type`, and as `param:…` the arguments that are not accepted.
REFUSALS: Final[tuple[Row, ...]] = (
    Row(
        name="fal refused the prompt",
        statuses=CLIENT,
        words=frozenset({MODERATION}),
        failure_class=FailureClass.MODERATED,
    ),
    Row(
        name="the account is locked or has no money left",
        statuses=CLIENT,
        speaker=SERVICE,
        begins=re.compile(
            r"user is locked|your account (?:has been|was|is) (?:locked|suspended|disabled)|account suspended"
            r"|exhausted balance|insufficient (?:balance|credits?|funds|quota)",
            re.IGNORECASE,
        ),
        failure_class=FailureClass.ACCOUNT,
        remedy="top up at fal.ai/dashboard/billing, or write to support@fal.ai where it is locked all the same",
    ),
    Row(
        name="the account has no money left",
        statuses=(402,),
        failure_class=FailureClass.ACCOUNT,
        remedy="top up at fal.ai/dashboard/billing",
    ),
    Row(
        name="the key is refused",
        statuses=(401,),
        speaker=SERVICE,
        failure_class=FailureClass.ACCOUNT,
        remedy="check FAL_KEY",
    ),
    Row(
        name="the key may not do this",
        statuses=(403,),
        speaker=SERVICE,
        failure_class=FailureClass.ACCOUNT,
        remedy="check the rights of FAL_KEY, and that it may use the model",
    ),
    Row(
        name="there is no such model",
        statuses=(404,),
        failure_class=FailureClass.ACCOUNT,
        of_model=True,
        remedy=_MODEL,
    ),
    Row(
        # As a page it may be a firewall's, which refuses what a prompt says.
        name="the model takes no POST",
        statuses=(405,),
        speaker=SERVICE,
        failure_class=FailureClass.ACCOUNT,
        of_model=True,
        remedy=_MODEL,
    ),
    Row(
        name="a gateway before fal wants a login",
        statuses=(401, 407),
        failure_class=FailureClass.ACCOUNT,
        remedy="check COPPERPLATE_FAL_QUEUE_URL and the proxy of this server",
    ),
    Row(
        # Of a prompt, a size and a seed fal says other things: these it wants of every request.
        name="the model takes other arguments",
        statuses=(400, 422),
        speaker=SERVICE,
        words=frozenset(
            {"missing", "value_error.missing", "extra_forbidden", "value_error.extra"}
            | {f"param:{name}" for name in OUR_ARGUMENTS}
        ),
        failure_class=FailureClass.ACCOUNT,
        of_model=True,
        remedy=_MODEL,
    ),
    Row(name="fal limits our rate", statuses=(429,), failure_class=FailureClass.RATE_LIMITED),
    Row(name="the request is too large", statuses=(413,), failure_class=FailureClass.INVALID),
    Row(
        name="cancelled or in conflict, for no reason of ours",
        statuses=(408, 409, 425, 499),
        failure_class=FailureClass.TRANSIENT,
    ),
    Row(
        name="fal does not accept the request",
        statuses=CLIENT,
        speaker=SERVICE,
        failure_class=FailureClass.INVALID,
    ),
    Row(name="fal failed", statuses=SERVER, speaker=SERVICE, failure_class=FailureClass.TRANSIENT),
    # A gateway may have let the request pass.
    Row(name="a gateway failed", statuses=SERVER, speaker=GATEWAY, failure_class=FailureClass.TRANSIENT, billed=True),
    # Redirects are never followed: a repeated POST could be billed twice.
    Row(name="a gateway refused", statuses=range(300, 500), failure_class=FailureClass.TRANSIENT),
    Row(name="an unusual answer", statuses=ANY, failure_class=FailureClass.BAD_OUTPUT, billed=True),
)


def no_answer(error: httpx.HTTPError) -> ProviderFailed:
    """The failure of a submit that was not answered."""
    for foreign, failure_class, billed, message in SUBMIT_ERRORS:
        if isinstance(error, foreign):
            return ProviderFailed(failure_class, f"{message}: {type(error).__name__}", billed=billed)
    raise error


def refused_submit(response: httpx.Response, *, now: datetime, secrets: Iterable[str] = ()) -> ProviderFailed:
    """The failure of a submit that was answered with an error, or with a redirect. `secrets` appear in no message.

    fal bills neither refusals nor its own errors. An error page that is not fal's own may come from a gateway that
    let the request pass, so it counts as billed.
    """
    answer = read_answer(response)
    said = f"{response.status_code} {describe(read_json(response), response)}"
    wish = parse_retry_after(response.headers.get("retry-after"), now=now)
    row = judge(REFUSALS, answer)
    if row.failure_class is FailureClass.ACCOUNT:
        said = str(response.status_code)
    return failure_of(row, answer, said=said, retry_after=wish, secrets=secrets)


def failed_job(response: httpx.Response, *, now: datetime) -> ProviderFailed:
    """The failure of a job that `response` tells of, by the same table."""
    return refused_submit(response, now=now)


def key_trouble(response: httpx.Response) -> str:
    """What an answer about a job says of our key or account: no failure of the job, which is paid for.

    Without fal's own words: who collects a job does not know its prompt, which they may repeat.
    """
    row = judge(REFUSALS, read_answer(response))
    return f"{row.name} ({response.status_code})" + (f" - {row.remedy}" if row.remedy else "")


def read_answer(response: httpx.Response) -> Answer:
    """What an error says, and whether fal says it: its own form is a `detail`, or an id in the header."""
    body = read_json(response)
    is_fals_own = "detail" in body or "x-fal-request-id" in response.headers
    detail = body.get("detail")
    entries = [each for each in detail if isinstance(each, dict)] if isinstance(detail, list) else []
    words = {str(each.get("type")) for each in entries}
    words |= {str(body.get("error_type")), str(response.headers.get("x-fal-error-type"))}
    words |= {f"param:{each['loc'][-1]}" for each in entries if isinstance(each.get("loc"), list) and each["loc"]}
    return Answer(
        status=response.status_code,
        speaker=SERVICE if is_fals_own else GATEWAY,
        words=frozenset(words - {"None"}),
        message=describe(body, response),
    )


def describe(body: dict[str, Any], response: httpx.Response) -> str:
    """What fal itself says of a failure. A sentence may repeat the prompt; of entries their `input` is left out."""
    detail = body.get("detail")
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("msg")
    if isinstance(detail, list):
        told = [f"{each.get('msg')} ({each.get('type')})" for each in detail[:20] if isinstance(each, dict)]
        return "; ".join(told)[:MAX_SAID]
    return str(detail or body.get("error") or response.headers.get("content-type"))[:MAX_SAID]


def read_json(response: httpx.Response) -> dict[str, Any]:
    """The object in an answer; an empty one where there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
