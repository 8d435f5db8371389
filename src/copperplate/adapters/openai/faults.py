"""What went wrong at OpenAI, or at a server that speaks its language, in our words. Foreign errors stop here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httpx2
import openai

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
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.refusals import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

SERVICE, GATEWAY = Speaker.SERVICE, Speaker.GATEWAY
# Of LiteLLM: the class of its error, that of the provider's, the route, and an object in quotes.
_PREFIXES: Final = re.compile(r"(?:litellm\.\w+: |\w+Exception - |Error: |\{'error': '|/[\w/]{1,50}: ){1,6}")
_MODEL: Final = "check COPPERPLATE_IMAGE_MODEL, COPPERPLATE_MEMOJI_MODEL and OPENAI_BASE_URL"

# The first row that fits decides. Words are codes, types and, as `param:…`, the argument that is not accepted.
REFUSALS: Final[tuple[Row, ...]] = (
    Row(
        ANY,
        FailureClass.ACCOUNT,
        "the account has no money left",
        speaker=SERVICE,
        words=frozenset(
            {
                "billing_hard_limit_reached",
                "billing_limit_reached",
                "billing_not_active",
                "insufficient_quota",
                "insufficient_balance",
                "insufficient_user_quota",
                "insufficient_credits",
                "budget_exceeded",
                "arrearage",
                "monthly_limit_reached",
                "spend_limit_exceeded",
            }
        ),
        begins=re.compile(
            r"billing (?:hard )?limit has been reached|you exceeded your current quota|your account is not active"
            r"|insufficient (?:balance|credits?|funds|quota)|budget has been exceeded|exceededbudget"
            r"|you(?:'ve| have) reached your (?:organization's )?(?:monthly )?(?:usage|spend(?:ing)?|budget) limit"
            r"|out of call volume quota|your credit balance|access denied, please make sure your account",
            re.IGNORECASE,
        ),
        remedy="raise the limit or add money at platform.openai.com/settings/organization/billing",
    ),
    Row((402,), FailureClass.ACCOUNT, "the account has no money left", remedy="pay at the service of OPENAI_BASE_URL"),
    Row(
        CLIENT,
        FailureClass.ACCOUNT,
        "the account is locked",
        speaker=SERVICE,
        words=frozenset({"account_deactivated", "access_terminated", "organization_deactivated"}),
        begins=re.compile(
            r"your (?:openai )?(?:access|account|organization|subscription|resource) (?:has been|was|is) "
            r"(?:temporarily )?(?:deactivated|terminated|suspended|flagged|disabled|banned|blocked|locked)"
            r"|the openai account associated",
            re.IGNORECASE,
        ),
        remedy="settle it with OpenAI, whose letter says why, or set another OPENAI_API_KEY",
    ),
    Row(
        CLIENT,
        FailureClass.ACCOUNT,
        "the organization is not verified",
        speaker=SERVICE,
        begins=re.compile(r"your organization must be verified", re.IGNORECASE),
        remedy="verify it at platform.openai.com/settings/organization/general",
    ),
    Row(
        CLIENT,
        FailureClass.MODERATED,
        "OpenAI refused the prompt",
        speaker=SERVICE,
        words=frozenset(
            {"moderation_blocked", "content_policy_violation", "content_filter", "contentfilter"}
            | {"responsibleaipolicyviolation", "image_generation_content_policy"}
        ),
    ),
    # A safety refusal whose code is null: the message alone tells.
    Row(
        (400, 403, 422),
        FailureClass.MODERATED,
        "OpenAI refused the prompt",
        speaker=SERVICE,
        says=re.compile(
            r"^your request was rejected|safety system|safety[ _]violation|content[ _](?:management )?policy"
            r"|content moderation|requires moderation|was flagged|usage policies|image_safety|our guardrails",
            re.IGNORECASE,
        ),
    ),
    Row(
        CLIENT,
        FailureClass.ACCOUNT,
        "the model is not known or not ours to use",
        speaker=SERVICE,
        words=frozenset({"model_not_found", "invalid_model", "unsupported_model", "deploymentnotfound", "param:model"}),
        begins=re.compile(r"invalid model name passed in|llm provider not provided", re.IGNORECASE),
        of_model=True,
        remedy=_MODEL,
    ),
    # What we send beside prompt, size and background is the same for every prompt.
    Row(
        (400, 422),
        FailureClass.ACCOUNT,
        "the model does not take what every request sends",
        speaker=SERVICE,
        words=frozenset(
            {"unknown_parameter", "unsupported_parameter"}
            | {f"param:{name}" for name in ("quality", "moderation", "output_format", "n", "response_format")}
        ),
        of_model=True,
        remedy=_MODEL,
    ),
    Row(
        CLIENT,
        FailureClass.ACCOUNT,
        "the service has another version of the API",
        speaker=SERVICE,
        begins=re.compile(r"api version not supported|unsupported api version", re.IGNORECASE),
        remedy="check OPENAI_BASE_URL",
    ),
    Row(
        CLIENT,
        FailureClass.ACCOUNT,
        "the key is refused",
        speaker=SERVICE,
        words=frozenset({"invalid_api_key", "api_key_invalid"}),
        begins=re.compile(r"(?:incorrect|invalid) api key|api key (?:is )?(?:not valid|expired)", re.IGNORECASE),
        remedy="check OPENAI_API_KEY",
    ),
    Row((401,), FailureClass.ACCOUNT, "the key is refused", speaker=SERVICE, remedy="check OPENAI_API_KEY"),
    Row(
        (403,),
        FailureClass.ACCOUNT,
        "the key may not do this",
        speaker=SERVICE,
        remedy="check the rights of OPENAI_API_KEY and its project, and where this server stands",
    ),
    Row((404,), FailureClass.ACCOUNT, "there is no such route or model", remedy=_MODEL),
    # As a page it may be a firewall's, which refuses what a prompt says.
    Row((405,), FailureClass.ACCOUNT, "the route takes no POST", speaker=SERVICE, remedy="check OPENAI_BASE_URL"),
    Row(
        (401, 407),
        FailureClass.ACCOUNT,
        "a gateway before OpenAI wants a login",
        remedy="check OPENAI_BASE_URL and the proxy of this server",
    ),
    Row((429,), FailureClass.RATE_LIMITED, "OpenAI limits our rate"),
    Row((413,), FailureClass.INVALID, "the request is too large"),
    Row((400, 422), FailureClass.INVALID, "OpenAI does not accept the request", speaker=SERVICE),
    Row(SERVER, FailureClass.TRANSIENT, "OpenAI failed", speaker=SERVICE),
    # A gateway may have let the request pass.
    Row(SERVER, FailureClass.TRANSIENT, "a gateway failed", speaker=GATEWAY, billed=True),
    Row(ANY, FailureClass.TRANSIENT, "an unusual answer"),
)

ERRORS: Final[tuple[ErrorRow, ...]] = (
    (openai.APIResponseValidationError, FailureClass.BAD_OUTPUT, True, "OpenAI's answer has no known form"),
    (openai.APIConnectionError, FailureClass.AMBIGUOUS, True, "the request was sent and its answer was lost"),
    (openai.OpenAIError, FailureClass.TRANSIENT, True, "the SDK failed"),
    (ValueError, FailureClass.BAD_OUTPUT, True, "OpenAI's answer cannot be read"),
)
# What the transport raises before a byte of the request has left.
UNSENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.ProxyError,
)


def translate(error: Exception, *, now: datetime, secrets: Iterable[str] = ()) -> ProviderFailed:
    """Our error for one of the SDK's; `secrets` appear in no message. Raises what is none of its."""
    if isinstance(error, openai.APIStatusError):
        answer = read_answer(error)
        retry_after = parse_retry_after(error.response.headers.get("retry-after"), now=now)
        detail = f"{error.status_code} {_plain(error.code)}"
        return failure_of(judge(REFUSALS, answer), answer, detail=detail, retry_after=retry_after, secrets=secrets)
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, UNSENT):
        message = f"OpenAI cannot be reached: {type(error.__cause__).__name__}"
        return ProviderFailed(FailureClass.TRANSIENT, message, billed=False)
    return failure_without_answer(ERRORS, error, shown=error.__cause__ or error)


def translate_error_object(body: object, *, secrets: Iterable[str] = ()) -> ProviderFailed:
    """Our error for what a 200 says under `error`: some servers answer so, and name the status in it or none."""
    code = body.get("code") if isinstance(body, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 400
    answer = answer_of(status, body, is_json=True)
    detail = f"200 {_plain(code)}"
    return failure_of(judge(REFUSALS, answer), answer, detail=detail, retry_after=None, secrets=secrets)


def read_answer(error: openai.APIStatusError) -> Answer:
    """What an error says: an object, or the text under `error`, is the service's form; a page is a gateway's."""
    body = error.body
    if isinstance(body, list) and len(body) == 1 and isinstance(body[0], dict):  # as Google writes it
        body = body[0].get("error", body[0])
    return answer_of(error.status_code, body, is_json="json" in error.response.headers.get("content-type", ""))


def answer_of(status: int, body: object, *, is_json: bool) -> Answer:
    """What stands under `error`, reduced to what decides."""
    if not isinstance(body, dict):
        speaker = SERVICE if is_json and isinstance(body, str) else GATEWAY
        return Answer(status=status, speaker=speaker, message=_message(body))
    inner = next((found for name in ("inner_error", "innererror") if isinstance(found := body.get(name), dict)), {})
    words = {_plain(code) for code in (body.get("code"), body.get("type"), inner.get("code"))}
    words |= {f"param:{_plain(body['param'])}"} if body.get("param") else set()
    message = _message(body.get("message") or body.get("detail") or body.get("error"))
    return Answer(status=status, speaker=SERVICE, words=frozenset(words - {""}), message=message)


def _message(text: object) -> str:
    """The message, without what proxies write before it."""
    return _PREFIXES.sub("", str(text or "")[:MAX_TEXT])


def _plain(code: Any) -> str:
    """A code as it is compared; empty for none."""
    return "" if code is None else str(code)[:100].casefold()
