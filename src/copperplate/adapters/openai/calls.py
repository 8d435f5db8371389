"""OpenAI's SDK at work: one call, and every error of it in our words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2
import openai
from openai.types import ImagesResponse

from copperplate.adapters.base64_forms import read_base64
from copperplate.adapters.bounded_stream import PLAIN, BoundedStream, check_plain
from copperplate.adapters.openai.faults import translate, translate_error_object
from copperplate.errors import ProviderFailed, reporting
from copperplate.failure_classes import FailureClass
from copperplate.imaging.header import MAX_BODY_BYTES
from copperplate.model import ProviderResult

if TYPE_CHECKING:
    from copperplate.ports import Clock

# One picture in base64, and the JSON around it.
ANSWER_BYTES: Final = MAX_BODY_BYTES * 4 // 3 + 64 * 1024

# Of a server that was asked for bytes; every picture would be paid for and lost.
ADDRESS_ANSWERED: Final = (
    "the server of OPENAI_BASE_URL answers with the address of a picture instead of its bytes - "
    "set it up to answer `b64_json`, as OpenAI does, or set another OPENAI_BASE_URL"
)
# More than this is no number of tokens of one picture.
MAX_TOKENS: Final = 1_000_000_000


class _Counted(BoundedStream, httpx2.AsyncByteStream):
    """As httpx2 wants it."""


async def _count(response: httpx2.Response) -> None:
    check_plain(response.headers)
    response.stream = _Counted(cast("httpx2.AsyncByteStream", response.stream), ANSWER_BYTES)


class Calls:
    """Calls of one key. Belongs to the event loop it is first used in."""

    def __init__(self, *, key: str, base_url: str, seconds: float, clock: Clock) -> None:
        self._key = key
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

    async def generate(self, **arguments: Any) -> ProviderResult:
        """One `images.generate`: the one picture, and the tokens billed. Raises `ProviderFailed`."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._client.images.generate(n=1, output_format="png", **arguments)
        except TimeoutError as error:
            message = f"the request was sent and not answered within {self._seconds} s"
            raise ProviderFailed(FailureClass.AMBIGUOUS, message) from error
        except (openai.OpenAIError, ValueError) as error:
            raise translate(error, now=self._clock.now(), secrets=(self._key,)) from error
        if (body := error_in(response)) is not None:
            raise translate_error_object(body, secrets=(self._key,))
        usage = tokens_of(response)
        with reporting(usage):
            return ProviderResult(body=only_picture(response), usage=usage)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def error_in(response: object) -> object:
    """What an answer of status 200 without a picture says under `error`; None where it says nothing there."""
    is_made = isinstance(response, ImagesResponse) and bool(response.data)
    return None if is_made else getattr(response, "error", None) or None


def only_picture(response: object) -> bytes:
    """The bytes of the one picture in an answer. Raises `ProviderFailed` (bad output) for anything else."""
    pictures = response.data if isinstance(response, ImagesResponse) else None
    if not isinstance(pictures, list) or len(pictures) != 1:
        raise _bad("OpenAI's answer does not hold exactly one picture")
    encoded = pictures[0].b64_json or pictures[0].url
    if not isinstance(encoded, str):
        raise _bad("OpenAI's answer holds no bytes")
    if encoded.startswith(("http://", "https://")):
        raise ProviderFailed(FailureClass.ACCOUNT, ADDRESS_ANSWERED)
    try:
        return read_base64(encoded)
    except ValueError as error:
        raise _bad("OpenAI's answer is not in base64") from error


def tokens_of(response: object) -> dict[str, int]:
    """The tokens an answer says it bills: text read, image read, drawn. Empty where it says nothing that can be so."""
    usage = response.usage if isinstance(response, ImagesResponse) else None
    if usage is None:
        return {}
    try:
        read = usage.input_tokens_details
        tokens = {"text_in": read.text_tokens, "image_in": read.image_tokens, "out": usage.output_tokens}
        counts = {name: int(count) for name, count in tokens.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):  # the SDK does not check what it parses
        return {}
    return counts if all(0 <= count <= MAX_TOKENS for count in counts.values()) else {}


def _bad(message: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.BAD_OUTPUT, message)
