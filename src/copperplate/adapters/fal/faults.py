"""What went wrong at fal, in our words. Foreign errors and status codes stop here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httpx

from copperplate.adapters.blame import (
    ANY,
    CLIENT,
    SERVER,
    Answer,
    ErrorRow,
    Row,
    Speaker,
    failure_of,
    failure_without_answer,
    judge,
)
from copperplate.adapters.retry_after import parse_retry_after
from copperplate.failure_classes import FailureClass
from copperplate.refusals import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from copperplate.errors import ProviderFailed

MODERATION: Final = "content_policy_violation"
# Which address fal loads an input from we say, and no caller.
NOT_LOADED: Final = "file_download_error"

# What certainly never left us is not billed; all else may have been taken.
SUBMIT_ERRORS: Final[tuple[ErrorRow, ...]] = (
    (httpx.ConnectError, FailureClass.TRANSIENT, False, "fal's queue cannot be reached"),
    (httpx.ConnectTimeout, FailureClass.TRANSIENT, False, "fal's queue cannot be reached in time"),
    (httpx.PoolTimeout, FailureClass.TRANSIENT, False, "no connection was free in time"),
    (httpx.ProxyError, FailureClass.TRANSIENT, False, "the proxy refused"),
    (httpx.UnsupportedProtocol, FailureClass.TRANSIENT, False, "COPPERPLATE_FAL_QUEUE_URL is no address"),
    (httpx.LocalProtocolError, FailureClass.TRANSIENT, False, "the request could not be written"),
    (httpx.HTTPError, FailureClass.AMBIGUOUS, True, "the submit was sent and its answer was lost"),
)

_ADDRESS: Final = re.compile(r"(?:https?|data):[^\s\"'<>]{3,}")
# What every request sends, whatever its prompt, size and seed.
OUR_ARGUMENTS: Final = ("num_images", "enable_safety_checker", "output_format", "num_inference_steps")
_MODEL: Final = (
    "check COPPERPLATE_IMAGE_MODEL, COPPERPLATE_MEMOJI_MODEL, COPPERPLATE_PROCESS_MODELS and COPPERPLATE_FAL_QUEUE_URL"
)
SERVICE, GATEWAY = Speaker.SERVICE, Speaker.GATEWAY

# A submit, or a job, that was answered with an error. The first row that fits decides. Words are the types of
# `detail`, `error_type`, and as `param:…` the arguments that are not accepted.
REFUSALS: Final[tuple[Row, ...]] = (
    Row(CLIENT, FailureClass.MODERATED, "fal refused the prompt", words=frozenset({MODERATION})),
    Row(
        (400, 422),
        FailureClass.ACCOUNT,
        "fal could not load the picture to process",
        speaker=SERVICE,
        words=frozenset({NOT_LOADED}),
        of_model=True,
        of_input=True,
        remedy="check COPPERPLATE_FAL_UPLOAD_ACL, and that the store's signed addresses can be loaded from outside",
    ),
    Row(
        CLIENT,
        FailureClass.ACCOUNT,
        "the account is locked or has no money left",
        speaker=SERVICE,
        begins=re.compile(
            r"user is locked|your account (?:has been|was|is) (?:locked|suspended|disabled)|account suspended"
            r"|exhausted balance|insufficient (?:balance|credits?|funds|quota)",
            re.IGNORECASE,
        ),
        remedy="top up at fal.ai/dashboard/billing, or write to support@fal.ai where it is locked all the same",
    ),
    Row((402,), FailureClass.ACCOUNT, "the account has no money left", remedy="top up at fal.ai/dashboard/billing"),
    Row((401,), FailureClass.ACCOUNT, "the key is refused", speaker=SERVICE, remedy="check FAL_KEY"),
    Row(
        (403,),
        FailureClass.ACCOUNT,
        "the key may not do this",
        speaker=SERVICE,
        remedy="check the rights of FAL_KEY, and that it may use the model",
    ),
    Row((404,), FailureClass.ACCOUNT, "there is no such model", of_model=True, remedy=_MODEL),
    # As a page it may be a firewall's, which refuses what a prompt says.
    Row((405,), FailureClass.ACCOUNT, "the model takes no POST", speaker=SERVICE, of_model=True, remedy=_MODEL),
    Row(
        (401, 407),
        FailureClass.ACCOUNT,
        "a gateway before fal wants a login",
        remedy="check COPPERPLATE_FAL_QUEUE_URL and the proxy of this server",
    ),
    # Of a prompt, a size and a seed fal says other things: these it wants of every request.
    Row(
        (400, 422),
        FailureClass.ACCOUNT,
        "the model takes other arguments",
        speaker=SERVICE,
        words=frozenset(
            {"missing", "value_error.missing", "extra_forbidden", "value_error.extra"}
            | {f"param:{name}" for name in OUR_ARGUMENTS}
        ),
        of_model=True,
        remedy=_MODEL,
    ),
    Row((429,), FailureClass.RATE_LIMITED, "fal limits our rate"),
    Row((413,), FailureClass.INVALID, "the request is too large"),
    Row((408, 409, 425, 499), FailureClass.TRANSIENT, "cancelled or in conflict, for no reason of ours"),
    Row(CLIENT, FailureClass.INVALID, "fal does not accept the request", speaker=SERVICE),
    Row(SERVER, FailureClass.TRANSIENT, "fal failed", speaker=SERVICE),
    # A gateway may have let the request pass.
    Row(SERVER, FailureClass.TRANSIENT, "a gateway failed", speaker=GATEWAY, billed=True),
    # Redirects are never followed: a repeated POST could be billed twice.
    Row(range(300, 500), FailureClass.TRANSIENT, "a gateway refused"),
    Row(ANY, FailureClass.BAD_OUTPUT, "an unusual answer", billed=True),
)

# An upload that was answered with an error. Nothing of it is billed.
UPLOAD_REFUSALS: Final[tuple[Row, ...]] = (
    Row((401,), FailureClass.ACCOUNT, "the key is refused for uploads", speaker=SERVICE, remedy="check FAL_KEY"),
    Row(
        (402, 403),
        FailureClass.ACCOUNT,
        "the key may not upload",
        speaker=SERVICE,
        remedy="check the rights of FAL_KEY, and the account at fal.ai/dashboard/billing",
    ),
    Row((429,), FailureClass.RATE_LIMITED, "fal limits the rate of our uploads"),
    Row(range(300, 1_000), FailureClass.TRANSIENT, "fal did not take the input"),
)


def no_answer(error: httpx.HTTPError) -> ProviderFailed:
    """The failure of a submit that was not answered."""
    return failure_without_answer(SUBMIT_ERRORS, error, shown=error)


def refused_submit(response: httpx.Response, *, now: datetime, secrets: Iterable[str] = ()) -> ProviderFailed:
    """The failure of a submit that was answered with an error, or with a redirect. `secrets` appear in no message.

    fal bills neither refusals nor its own errors. An error page that is not fal's own may come from a gateway that
    let the request pass, so it counts as billed.
    """
    return _failure_in(REFUSALS, response, now=now, secrets=secrets)


def refused_upload(response: httpx.Response, *, now: datetime, secrets: Iterable[str] = ()) -> ProviderFailed:
    """The failure of an upload that was answered with an error. `secrets` appear in no message."""
    return _failure_in(UPLOAD_REFUSALS, response, now=now, secrets=secrets)


def _failure_in(
    table: Sequence[Row], response: httpx.Response, *, now: datetime, secrets: Iterable[str]
) -> ProviderFailed:
    answer = read_answer(response)
    detail = f"{response.status_code} {describe(read_json(response), response)}"
    retry_after = parse_retry_after(response.headers.get("retry-after"), now=now)
    row = judge(table, answer)
    if row.failure_class is FailureClass.ACCOUNT:
        detail = str(response.status_code)
    return failure_of(row, answer, detail=detail, retry_after=retry_after, secrets=secrets)


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
    entries = [entry for entry in detail if isinstance(entry, dict)] if isinstance(detail, list) else []
    words = {str(entry.get("type")) for entry in entries}
    words |= {str(body.get("error_type")), str(response.headers.get("x-fal-error-type"))}
    words |= {f"param:{entry['loc'][-1]}" for entry in entries if isinstance(entry.get("loc"), list) and entry["loc"]}
    return Answer(
        status=response.status_code,
        speaker=SERVICE if is_fals_own else GATEWAY,
        words=frozenset(words - {"None"}),
        message=describe(body, response),
    )


def describe(body: dict[str, Any], response: httpx.Response) -> str:
    """What fal itself says of a failure, without addresses: whoever has one can load the picture.

    A sentence may repeat the prompt; of entries their `input` is left out.
    """
    return _ADDRESS.sub("(an address)", _words_of(body, response))[:MAX_TEXT]


def _words_of(body: dict[str, Any], response: httpx.Response) -> str:
    detail = body.get("detail")
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("msg")
    if isinstance(detail, list):
        messages = [f"{entry.get('msg')} ({entry.get('type')})" for entry in detail[:20] if isinstance(entry, dict)]
        return "; ".join(messages)
    return str(detail or body.get("error") or response.headers.get("content-type"))


def read_json(response: httpx.Response) -> dict[str, Any]:
    """The object in an answer; an empty one where there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
