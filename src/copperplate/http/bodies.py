"""JSON bodies, read with suspicion: bounded in bytes and time, one object, nothing said twice."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from starlette.requests import ClientDisconnect

from copperplate.errors import BodyTooLarge, InvalidBody, UnsupportedMediaType

if TYPE_CHECKING:
    from fastapi import Request

MAX_BYTES: Final = 16 * 1024
READ_SECONDS: Final = 10.0


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, and `InvalidBody` for what is no object, says a member twice,
    holds a number JSON does not have, or did not arrive within ten seconds.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send Content-Type: application/json.")
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await _read(request)
    except TimeoutError:
        raise InvalidBody(f"The body did not arrive within {READ_SECONDS:.0f} seconds.") from None
    except ClientDisconnect:
        raise InvalidBody("The body was cut off.") from None
    return _parse(body)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise BodyTooLarge(f"Send at most {MAX_BYTES} bytes.")
    return bytes(body)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body, object_pairs_hook=_members, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        raise InvalidBody("This is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise InvalidBody("Send a JSON object.")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidBody("A member is there twice.")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidBody(f"JSON has no {name}.")
