"""Answers of a service, counted while they arrive: no more of one is held than it may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    import httpx

# Asked for everywhere: compressed bytes could unfold into any number.
PLAIN = {"Accept-Encoding": "identity"}


class Unreadable(ValueError):
    """The answer is too long, or compressed although we asked for it plain."""


def check_plain(headers: Mapping[str, str]) -> None:
    """Raise `Unreadable` for a compressed answer."""
    if headers.get("content-encoding", "identity") != "identity":
        raise Unreadable("the answer comes compressed, which we did not ask for")


async def read_beginning(response: httpx.Response, limit_bytes: int) -> bytes:
    """The bytes of an answer as they are sent; of a longer one some more than `limit_bytes`, and the rest unread."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit_bytes:
            break
    return bytes(body)


class BoundedStream:
    """The bytes of `stream`, until there are more than `limit_bytes`: then `Unreadable`. For httpx and httpx2 alike."""

    def __init__(self, stream: AsyncIterable[bytes], limit_bytes: int) -> None:
        self._stream = stream
        self._limit_bytes = limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pass the bytes on and count them."""
        count = 0
        async for chunk in self._stream:
            count += len(chunk)
            if count > self._limit_bytes:
                message = f"the answer has more than {self._limit_bytes} bytes"
                raise Unreadable(message)
            yield chunk

    async def aclose(self) -> None:
        """Close what is counted."""
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()
