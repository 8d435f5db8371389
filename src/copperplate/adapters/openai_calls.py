"""OpenAI's SDK at work: one call, and every error of it in our words."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2
import openai
from openai.types import ImagesResponse

from copperplate.adapters.counted import PLAIN, CountedStream, check_plain
from copperplate.adapters.wishes import parse_retry_after
from copperplate.errors import CopperplateError, Misconfigured, ProviderFailed, reporting
from copperplate.model import FailureClass, Made
from copperplate.picture_header import MAX_BODY_BYTES

if TYPE_CHECKING:
    from datetime import datetime

    from copperplate.ports import Clock

# One picture in base64, and what is told beside it.
ANSWER_BYTES: Final = MAX_BODY_BYTES * 4 // 3 + 64 * 1024

logger = logging.getLogger(__name__)

MODERATED_CODES: Final = frozenset({"moderation_blocked", "content_policy_violation"})
NO_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
NO_QUOTA_REST: Final = timedelta(minutes=15)  # the longest rest there is for a limit

# Foreign exceptions stop here. The first class that fits decides; the flag says whether it may be billed.
ErrorRow = tuple[type[Exception], FailureClass, bool, str]
ERRORS: Final[tuple[ErrorRow, ...]] = (
    (openai.RateLimitError, FailureClass.RATE_LIMITED, False, "OpenAI limits our rate"),
    (openai.ConflictError, FailureClass.TRANSIENT, False, "OpenAI reports a conflict"),
    (openai.BadRequestError, FailureClass.INVALID, False, "OpenAI does not accept the request"),
    (openai.UnprocessableEntityError, FailureClass.INVALID, False, "OpenAI does not accept the request"),
    (openai.InternalServerError, FailureClass.TRANSIENT, True, "OpenAI failed"),
    (openai.APIResponseValidationError, FailureClass.BAD_OUTPUT, True, "OpenAI's answer has no known form"),
    (openai.APIStatusError, FailureClass.TRANSIENT, False, "OpenAI answered with an unusual status"),
    (openai.APIConnectionError, FailureClass.AMBIGUOUS, True, "the request was sent and its answer was lost"),
    (openai.OpenAIError, FailureClass.TRANSIENT, True, "the SDK failed"),
    (ValueError, FailureClass.BAD_OUTPUT, True, "OpenAI's answer cannot be read"),
)
# One key and one model serve every prompt: what these say is no prompt's failure.
SETTINGS_AT_FAULT: Final[tuple[tuple[type[openai.APIStatusError], str], ...]] = (
    (openai.AuthenticationError, "OPENAI_API_KEY"),
    (openai.PermissionDeniedError, "OPENAI_API_KEY"),
    (openai.NotFoundError, "COPPERPLATE_IMAGE_MODEL, COPPERPLATE_MEMOJI_MODEL or OPENAI_BASE_URL"),
)
# More than this is no number of tokens of one picture.
MAX_TOKENS: Final = 1_000_000_000
# What the transport raises before a byte of the request has left.
UNSENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.ProxyError,
)


class _Counted(CountedStream, httpx2.AsyncByteStream):
    """As httpx2 wants it."""


async def _count(response: httpx2.Response) -> None:
    check_plain(response.headers)
    response.stream = _Counted(cast("httpx2.AsyncByteStream", response.stream), ANSWER_BYTES)


class Calls:
    """Calls of one key. Belongs to the event loop it is first used in."""

    def __init__(self, *, key: str, base_url: str, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._seconds = seconds
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=base_url,
            max_retries=0,
            timeout=httpx2.Timeout(seconds, connect=5),
            # A redirected POST would be a second one.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"response": [_count]}),
            default_headers=PLAIN,
        )

    async def generate(self, **arguments: Any) -> Made:
        """One `images.generate`: the one picture, and the tokens billed. Raises `ProviderFailed`, `Misconfigured`."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._client.images.generate(n=1, output_format="png", **arguments)
        except TimeoutError as error:
            message = f"the request was sent and not answered within {self._seconds} s"
            raise ProviderFailed(FailureClass.AMBIGUOUS, message) from error
        except (openai.OpenAIError, ValueError) as error:
            raise translate(error, now=self._clock.now()) from error
        usage = tokens_of(response)
        with reporting(usage):
            return Made(body=only_picture(response), usage=usage)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def translate(error: Exception, *, now: datetime) -> CopperplateError:
    """Our error for one of the SDK's."""
    code = getattr(error, "code", None)
    for refusal, variable in SETTINGS_AT_FAULT:
        if isinstance(error, refusal):
            logger.error("OpenAI answers %d: check %s; no picture can be made until then", error.status_code, variable)
            return Misconfigured(f"OpenAI answers {error.status_code}: check {variable}")
    if isinstance(error, openai.BadRequestError) and code in MODERATED_CODES:
        return ProviderFailed(FailureClass.MODERATED, f"OpenAI refused the prompt: {code}", billed=False)
    if isinstance(error, openai.RateLimitError) and code in NO_QUOTA_CODES:
        logger.error("OpenAI answers %s: the account of OPENAI_API_KEY has no money left", code)
        message = f"OpenAI's quota is used up: {code}"
        return ProviderFailed(FailureClass.RATE_LIMITED, message, billed=False, retry_after=NO_QUOTA_REST)
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, UNSENT):
        message = f"OpenAI cannot be reached: {type(error.__cause__).__name__}"
        return ProviderFailed(FailureClass.TRANSIENT, message, billed=False)
    for foreign, failure_class, billed, message in ERRORS:
        if isinstance(error, foreign):
            wish = parse_retry_after(_header(error, "retry-after"), now=now)
            told = f"{message}: {_describe(error)}"
            return ProviderFailed(failure_class, told, billed=billed and not _is_refusal(error), retry_after=wish)
    raise error


def only_picture(response: object) -> bytes:
    """The bytes of the one picture in an answer. Raises `ProviderFailed` (bad output) for anything else."""
    pictures = response.data if isinstance(response, ImagesResponse) else None
    if not isinstance(pictures, list) or len(pictures) != 1:
        raise _bad("OpenAI's answer does not hold exactly one picture")
    encoded = pictures[0].b64_json
    if not isinstance(encoded, str):
        raise _bad("OpenAI's answer holds no bytes")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("OpenAI's answer is not in base64") from error


def tokens_of(response: object) -> dict[str, int]:
    """The tokens an answer says it bills: text read, image read, drawn. Empty where it says nothing that can be so."""
    usage = response.usage if isinstance(response, ImagesResponse) else None
    if usage is None:
        return {}
    try:
        read = usage.input_tokens_details
        tokens = {"text_in": read.text_tokens, "image_in": read.image_tokens, "out": usage.output_tokens}
        told = {name: int(count) for name, count in tokens.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):  # the SDK does not check what it parses
        return {}
    return told if all(0 <= count <= MAX_TOKENS for count in told.values()) else {}


def _is_refusal(error: Exception) -> bool:
    """Whether OpenAI itself, and no gateway before it, says that it failed: then it does not bill."""
    return isinstance(error, openai.InternalServerError) and isinstance(error.body, dict)


def _describe(error: Exception) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"{error.status_code} {error.code}"
    return type(error.__cause__ or error).__name__


def _header(error: Exception, name: str) -> str | None:
    return error.response.headers.get(name) if isinstance(error, openai.APIStatusError) else None


def _bad(message: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.BAD_OUTPUT, message)
