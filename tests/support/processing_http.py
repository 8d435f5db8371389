"""Requests to `/api/process` over memory: people who send a picture, and a provider that can be held up."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from copperplate.http.app import create_app
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.processing import GatedProcessor
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of at least thirty-two characters"
ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
PICTURE = b"\x89PNG\r\n\x1a\n a picture"
HASH = hashlib.sha256(PICTURE).hexdigest()
UP, CUT, FACE = "/api/process/upscale", "/api/process/remove-background", "/api/process/face-detail"
PNG = {"content-type": "image/png"}
WANT_PICTURE = {"accept": "image/*"}
EARLY = {"prefer": "respond-async"}


def of(user: UUID, *, is_anonymous: bool = False) -> dict[str, str]:
    """The header of a signed-in person."""
    made = Tokens(LOCAL_ISSUER, SystemClock().now()).hs(
        secret=SECRET.encode(), sub=str(user), is_anonymous=is_anonymous
    )
    return {"authorization": f"Bearer {made}"}


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    """Whether it is this problem, and nobody keeps it."""
    is_fresh = answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers
    return is_fresh and (answer.status_code, answer.json()["code"]) == (status, code)


def client_of(services: MemoryServices) -> httpx.AsyncClient:
    """Of an application over these services."""
    transport = httpx.ASGITransport(create_app(services=services))
    return httpx.AsyncClient(transport=transport, base_url="http://pictures.test")


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    """Services over memory where people sign in."""
    made = memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})
    yield made
    await made.request_meter.close()


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application over the `services` of the test."""
    async with client_of(services) as client:
        yield client


class Gated(NamedTuple):
    """An application whose provider makes nothing until its gate is opened."""

    client: httpx.AsyncClient
    processor: GatedProcessor
    services: MemoryServices


async def send(client: httpx.AsyncClient, path: str = UP, body: bytes = PICTURE, /, **headers: str) -> httpx.Response:
    """The bytes alone."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, content=body, headers={**PNG, **sent})


async def send_form(
    client: httpx.AsyncClient, fields: dict[str, str], *, name: str = "photo.png", path: str = UP
) -> httpx.Response:
    """The bytes as a file in a form, with these fields."""
    return await client.post(path, files={"file": (name, PICTURE, "image/png")}, data=fields)


@asynccontextmanager
async def gated_application() -> AsyncIterator[Gated]:
    """One that is open until the block ends."""
    processor = GatedProcessor()
    services = memory_services(processor=processor, environ={"SUPABASE_JWT_SECRET": SECRET})
    async with client_of(services) as client:
        yield Gated(client, processor, services)
    processor.gate.set()
    await services.shut_down(within_seconds=5)
    await services.request_meter.close()
