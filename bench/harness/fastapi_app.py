"""The same bytes and headers from a bare FastAPI route."""

from __future__ import annotations

from fastapi import FastAPI, Response

from bench.harness.raw_app import BODY
from bench.harness.raw_app import HEADERS as RAW

HEADERS = {name.decode(): value.decode("latin-1") for name, value in RAW}

app = FastAPI()


@app.get("/{name}")
async def picture(name: str, text: str) -> Response:
    """The picture, whatever its name."""
    del name, text
    return Response(BODY, headers=HEADERS)
