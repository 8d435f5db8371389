"""What went wrong at OpenAI, or at a server that speaks its language, in our words. Foreign errors stop here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httpx2
import openai

from copperplate.adapters.blame import ANY, CLIENT, SERVER, Answer, Row, Speaker, failure_of, judge
from copperplate.adapters.retry_after import parse_retry_after
from copperplate.errors import ProviderFailed
from copperplate.model import FailureClass
from copperplate.refusals import MAX_SAID

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
        name="the account has no money left",
        statuses=ANY,
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
        failure_class=FailureClass.ACCOUNT,
        remedy="raise the limit or add money at platform.openai.com/settings/organization/billing",
    ),
    Row(
        name="the account has no money left",
        statuses=(402,),
        failure_class=FailureClass.ACCOUNT,
        remedy="pay at the service of OPENAI_BASE_URL",
    ),
    Row(
        name="the account is locked",
        statuses=CLIENT,
        speaker=SERVICE,
        words=frozenset({"account_deactivated", "access_terminated", "organization_deactivated"}),
        begins=re.compile(
            r"your (?:openai )?(?:access|account|organization|subscription|resource) (?:has been|was|is) "
            r"(?:temporarily )?(?:deactivated|terminated|suspended|flagged|disabled|banned|blocked|locked)"
            r"|the openai account associated",
            re.IGNORECASE,
        ),
        failure_class=FailureClass.ACCOUNT,
        remedy="settle it with OpenAI, whose letter says why, or set another OPENAI_API_KEY",
    ),
    Row(
        name="the organization is not verified",
        statuses=CLIENT,
        speaker=SERVICE,
        begins=re.compile(r"your organization must be verified", re.IGNORECASE),
        failure_class=FailureClass.ACCOUNT,
        remedy="verify it at platform.openai.com/settings/organization/general",
    ),
    Row(
        name="OpenAI refused the prompt",
        statuses=CLIENT,
        speaker=SERVICE,
        words=frozenset(
            {"moderation_blocked", "content_policy_violation", "content_filter", "contentfilter"}
            | {"responsibleaipolicyviolation", "image_generation_content_policy"}
        ),
        failure_class=FailureClass.MODERATED,
    ),
    Row(
        # A safety refusal whose code is null: the message alone tells.
        name="OpenAI refused the prompt",
        statuses=(400, 403, 422),
        speaker=SERVICE,
        says=re.compile(
            r"^your request was rejected|safety system|safety[ _]violation|content[ _](?:management )?policy"
            r"|content moderation|requires moderation|was flagged|usage policies|image_safety|our guardrails",
            re.IGNORECASE,
        ),
        failure_class=FailureClass.MODERATED,
    ),
    Row(
        name="the model is not known or not ours to use",
        statuses=CLIENT,
        speaker=SERVICE,
        words=frozenset({"model_not_found", "invalid_model", "unsupported_model", "deploymentnotfound", "param:model"}),
        begins=re.compile(r"invalid model name passed in|llm provider not provided", re.IGNORECASE),
        failure_class=FailureClass.ACCOUNT,
        of_model=True,
        remedy=_MODEL,
    ),
    Row(
        # What we send beside prompt, size and background is the same for every prompt.
        name="the model does not take what every request sends",
        statuses=(400, 422),
        speaker=SERVICE,
        words=frozenset(
            {"unknown_parameter", "unsupported_parameter"}
            | {f"param:{name}" for name in ("quality", "moderation", "output_format", "n", "response_format")}
        ),
        failure_class=FailureClass.ACCOUNT,
        of_model=True,
        remedy=_MODEL,
    ),
    Row(
        name="the service has another version of the API",
        statuses=CLIENT,
        speaker=SERVICE,
        begins=re.compile(r"api version not supported|unsupported api version", re.IGNORECASE),
        failure_class=FailureClass.ACCOUNT,
        remedy="check OPENAI_BASE_URL",
    ),
    Row(
        name="the key is refused",
        statuses=CLIENT,
        speaker=SERVICE,
        words=frozenset({"invalid_api_key", "api_key_invalid"}),
        begins=re.compile(r"(?:incorrect|invalid) api key|api key (?:is )?(?:not valid|expired)", re.IGNORECASE),
        failure_class=FailureClass.ACCOUNT,
        remedy="check OPENAI_API_KEY",
    ),
    Row(
        name="the key is refused",
        statuses=(401,),
        speaker=SERVICE,
        failure_class=FailureClass.ACCOUNT,
        remedy="check OPENAI_API_KEY",
    ),
    Row(
        name="the key may not do this",
        statuses=(403,),
        speaker=SERVICE,
        failure_class=FailureClass.ACCOUNT,
        remedy="check the rights of OPENAI_API_KEY and its project, and where this server stands",
    ),
    Row(
        name="there is no such route or model",
        statuses=(404,),
        failure_class=FailureClass.ACCOUNT,
        remedy=_MODEL,
    ),
    Row(
        # As a page it may be a firewall's, which refuses what a prompt says.
        name="the route takes no POST",
        statuses=(405,),
        speaker=SERVICE,
        failure_class=FailureClass.ACCOUNT,
        remedy="check OPENAI_BASE_URL",
    ),
    Row(
        name="a gateway before OpenAI wants a login",
        statuses=(401, 407),
        failure_class=FailureClass.ACCOUNT,
        remedy="check OPENAI_BASE_URL and the proxy of this server",
    ),
    Row(name="OpenAI limits our rate", statuses=(429,), failure_class=FailureClass.RATE_LIMITED),
    Row(name="the request is too large", statuses=(413,), failure_class=FailureClass.INVALID),
    Row(
        name="OpenAI does not accept the request",
        statuses=(400, 422),
        speaker=SERVICE,
        failure_class=FailureClass.INVALID,
    ),
    Row(name="OpenAI failed", statuses=SERVER, speaker=SERVICE, failure_class=FailureClass.TRANSIENT),
    # A gateway may have let the request pass.
    Row(name="a gateway failed", statuses=SERVER, speaker=GATEWAY, failure_class=FailureClass.TRANSIENT, billed=True),
    Row(name="an unusual answer", statuses=ANY, failure_class=FailureClass.TRANSIENT),
)

# Without an answer. The first class that fits decides; the flag says whether it may be billed.
ErrorRow = tuple[type[Exception], FailureClass, bool, str]
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
        wish = parse_retry_after(error.response.headers.get("retry-after"), now=now)
        said = f"{error.status_code} {_plain(error.code)}"
        return failure_of(judge(REFUSALS, answer), answer, said=said, retry_after=wish, secrets=secrets)
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, UNSENT):
        message = f"OpenAI cannot be reached: {type(error.__cause__).__name__}"
        return ProviderFailed(FailureClass.TRANSIENT, message, billed=False)
    for foreign, failure_class, billed, message in ERRORS:
        if isinstance(error, foreign):
            told = f"{message}: {type(error.__cause__ or error).__name__}"
            return ProviderFailed(failure_class, told, billed=billed)
    raise error


def translate_told(told: object, *, secrets: Iterable[str] = ()) -> ProviderFailed:
    """Our error for what a 200 says under `error`: some servers answer so, and name the status in it or none."""
    code = told.get("code") if isinstance(told, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 400
    answer = answer_of(status, told, is_json=True)
    said = f"200 {_plain(code)}"
    return failure_of(judge(REFUSALS, answer), answer, said=said, retry_after=None, secrets=secrets)


def read_answer(error: openai.APIStatusError) -> Answer:
    """What an error says. An object, or the text under `error`, is the service's own form; a page is a gateway's."""
    told = error.body
    if isinstance(told, list) and len(told) == 1 and isinstance(told[0], dict):  # as Google writes it
        told = told[0].get("error", told[0])
    return answer_of(error.status_code, told, is_json="json" in error.response.headers.get("content-type", ""))


def answer_of(status: int, told: object, *, is_json: bool) -> Answer:
    """What stands under `error`, reduced to what decides."""
    if not isinstance(told, dict):
        speaker = SERVICE if is_json and isinstance(told, str) else GATEWAY
        return Answer(status=status, speaker=speaker, message=_message(told))
    inner = next((each for each in (told.get("inner_error"), told.get("innererror")) if isinstance(each, dict)), {})
    words = {_plain(each) for each in (told.get("code"), told.get("type"), inner.get("code"))}
    words |= {f"param:{_plain(told['param'])}"} if told.get("param") else set()
    message = _message(told.get("message") or told.get("detail") or told.get("error"))
    return Answer(status=status, speaker=SERVICE, words=frozenset(words - {""}), message=message)


def _message(told: object) -> str:
    """What is said, without what proxies write before it."""
    return _PREFIXES.sub("", str(told or "")[:MAX_SAID])


def _plain(word: Any) -> str:
    """A code as it is compared; empty for none."""
    return "" if word is None else str(word)[:100].casefold()
