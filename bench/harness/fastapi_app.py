"""The same bytes from a bare FastAPI route."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Response

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
HEADERS = {"cache-control": "public, max-age=3600, immutable", "etag": '"' + "0" * 64 + '"', "x-cache": "HIT"}

app = FastAPI()


@app.get("/{name}")
async def picture(name: str, text: str) -> Response:
    """The picture, whatever its name."""
    del name, text
    return Response(BODY, media_type="image/jpeg", headers=HEADERS)
