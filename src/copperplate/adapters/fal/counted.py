"""fal's answers, counted while they arrive: they hold addresses, not pictures."""

from __future__ import annotations

from typing import Final, cast

import httpx

from copperplate.adapters.bounded_stream import BoundedStream, check_plain

ANSWER_BYTES: Final = 1024 * 1024


class _Counted(BoundedStream, httpx.AsyncByteStream):
    """As httpx wants it."""


async def count(response: httpx.Response) -> None:
    """For a client's hooks. Reading the answer raises `Unreadable` above 1 MB; raises it at once where compressed."""
    check_plain(response.headers)
    response.stream = _Counted(cast("httpx.AsyncByteStream", response.stream), ANSWER_BYTES)
