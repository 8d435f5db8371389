"""The least an ASGI server can be asked: the bytes of a file, and the headers a picture needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"image/jpeg"),
        (b"content-length", str(len(BODY)).encode()),
        (b"cache-control", b"public, max-age=3600, immutable"),
        (b"etag", b'"' + b"0" * 64 + b'"'),
        (b"x-cache", b"HIT"),
    ],
}
END = {"type": "http.response.body", "body": BODY}


async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer one request."""
    del scope, receive
    await send(START)
    await send(END)
