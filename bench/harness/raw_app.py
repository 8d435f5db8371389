"""The least an ASGI server can be asked: the bytes of a file, and the headers a picture needs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STATUS = int(os.environ.get("BENCH_STATUS", "200"))
BODY = Path(os.environ["BENCH_BODY"]).read_bytes() if STATUS == 200 else b""
HEADERS = [
    (b"cache-control", b"public, max-age=3600, immutable"),
    (b"etag", b'"' + b"0" * 64 + b'"'),
    (b"x-cache", b"HIT"),
]
if "BENCH_HEADERS" in os.environ:
    given = json.loads(Path(os.environ["BENCH_HEADERS"]).read_text())
    HEADERS = [(name.lower().encode(), value.encode("latin-1")) for name, value in given]
if BODY:
    HEADERS += [(b"content-type", b"image/jpeg"), (b"content-length", str(len(BODY)).encode())]
START = {"type": "http.response.start", "status": STATUS, "headers": HEADERS}
END = {"type": "http.response.body", "body": BODY}


async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer one request."""
    del scope, receive
    await send(START)
    await send(END)
