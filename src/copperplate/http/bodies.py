"""JSON bodies: bounded in bytes and time, one object, no member twice."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect

from copperplate.errors import BodyTooLarge, InvalidBody, UnsupportedMediaType
from copperplate.strict_json import InvalidJSON, parse_object

if TYPE_CHECKING:
    from fastapi import Request

MAX_BYTES: Final = 16 * 1024
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*"?([^\s;"]*)""")
READ_SECONDS: Final = 10.0


def has_body(request: Request) -> bool:
    """Whether a request brings a body (RFC 9112, 6.3)."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


async def read_json_object(request: Request, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object that a request brings, in at most `max_bytes`.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, and `InvalidBody` for what is no object, has a member twice,
    holds a number that JSON does not have, or did not arrive within ten seconds.
    """
    sent = request.headers.get("content-type", "").lower()
    if (charset := _CHARSET.search(sent)) is not None and charset[1] not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Send JSON in UTF-8.")
    media_type = sent.partition(";")[0].strip()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send Content-Type: application/json.")
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await _read(request, max_bytes)
    except TimeoutError:
        raise InvalidBody(f"The body did not arrive within {READ_SECONDS:.0f} seconds.") from None
    except ClientDisconnect:
        raise InvalidBody("The body was cut off.") from None
    try:
        return parse_object(body)
    except InvalidJSON as fault:
        raise InvalidBody(str(fault)) from None


async def _read(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"Send at most {max_bytes} bytes.")
    return bytes(body)
