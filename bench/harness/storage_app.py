"""The least that answers an upload and a download as Supabase Storage does: the client is what is measured."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
STORED = json.dumps({"Key": "generated-images/a.png", "Id": "1076c28c-41d1-4658-aa1b-0cae0ed183e2"}).encode()


async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer one request, once its body is here."""
    while (await receive()).get("more_body"):
        pass
    is_upload = scope["method"] == "POST"
    body, kind = (STORED, b"application/json; charset=utf-8") if is_upload else (BODY, b"image/png")
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
