"""STAND-IN: answers that both services give wrong in the same ways."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from tests.standin.scenario_log import Scenario, ScenarioLog

NGINX = (
    "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr><center>gateway</center></body></html>"
)


def drop(request: Request) -> Response:
    """Reset the connection instead of answering: the request was read, its answer never comes."""
    transport = request.scope["standin.transport"]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return Response(status_code=500)


def retry_after(value: str) -> dict[str, str]:
    """The header a 429 carries: `none`, `date` (in a minute), `past`, or the value itself."""
    dates = {"date": formatdate(time() + 60, usegmt=True), "past": formatdate(time() - 60, usegmt=True)}
    return {} if value in ("", "none") else {"Retry-After": dates.get(value, value)}


def gateway(scenario: Scenario) -> Response | None:
    """What a gateway between us and the service answers by itself."""
    match scenario.name:
        case "http_500_html" | "http_502_html" | "http_503_html" | "http_504_html":
            status = int(scenario.name[5:8])
            return HTMLResponse(NGINX.format(f"{status} Bad Gateway"), status)
        case "html_answer":
            return HTMLResponse(NGINX.format("200 OK"))
        case "empty_answer":
            return Response(b"", media_type="application/json")
        case "broken_json":
            return Response(b'{"request_id": "x', media_type="application/json")
        case "redirect_post":
            return Response(status_code=307, headers={"Location": scenario.value or "/elsewhere"})
        case _:
            return None


def flood(whole: bytes, length: int) -> Response:
    """`whole`, made so long by white space that JSON allows."""

    async def parts() -> AsyncIterator[bytes]:
        yield whole
        for _ in range(length // 65_536 + 1):
            yield b" " * 65_536

    return StreamingResponse(parts(), media_type="application/json")


def compressed(whole: bytes) -> Response:
    """`whole` before megabytes of white space, in little more bytes than it has."""
    body = gzip.compress(whole + b" " * 5_000_000, 1)
    return Response(body, media_type="application/json", headers={"Content-Encoding": "gzip"})


def disguised(whole: JSONResponse, scenario: Scenario, name: str) -> Response:
    """`whole`, or what the scenarios `flood_<name>=<bytes>` and `gzip_<name>` make of it."""
    if scenario.is_(f"flood_{name}"):
        return flood(bytes(whole.body), int(scenario.value))
    return compressed(bytes(whole.body)) if scenario.is_(f"gzip_{name}") else whole


def trickle(body: bytes, media_type: str) -> Response:
    """Slowloris: all of `body`, one byte a second."""

    async def drops() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])
            await asyncio.sleep(1)

    return StreamingResponse(drops(), media_type=media_type, headers={"Content-Length": str(len(body))})


def in_parts(body: bytes, media_type: str) -> Response:
    """`body` without a stated length: where it ends, only its end says."""

    async def parts() -> AsyncIterator[bytes]:
        yield body

    return StreamingResponse(parts(), media_type=media_type)


def canned(answer: tuple[int, object, dict[str, str]]) -> Response:
    """Word for word what a test gives."""
    status, body, headers = answer
    return HTMLResponse(body, status, headers) if isinstance(body, str) else JSONResponse(body, status, headers)


async def held(scenario_log: ScenarioLog) -> None:
    """Return once the test releases the scenario log, or clears it for the next one."""
    released = scenario_log.released
    while not released.is_set():
        await asyncio.sleep(0.01)


def problem(status: int, body: object, **headers: str) -> JSONResponse:
    """An error in the service's own form."""
    return JSONResponse(body, status, headers)
