"""One process whose picture is made when a test says so, and what its streams are asked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.testing import GENERATE
from copperplate.work.promises import new_wish
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request
from tests.support.streams import Desk
from tests.unit.test_http_memoji import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.model import PictureRequest
    from tests.support.memory_services import MemoryServices

REQUEST = picture_request()
KEY = REQUEST.generation_key
EVENTS = f"/api/generations/{KEY}/events"
PICTURE = f"http://pictures.test/api/images/{KEY}"
ALLOWED = {"COPPERPLATE_ALLOWED_HOSTS": "pictures.test", "SUPABASE_JWT_SECRET": SECRET}
LEASE = timedelta(seconds=20)


@pytest.fixture
def provider() -> GatedProvider:
    return GatedProvider(FakeClock())


@pytest.fixture
async def services(provider: GatedProvider) -> AsyncIterator[MemoryServices]:
    made = memory_services(environ=ALLOWED, provider=provider)
    yield made
    provider.gate.set()
    await made.shut_down(within_seconds=5)
    await made.request_meter.close()


@pytest.fixture
def desk(services: MemoryServices) -> Desk:
    return Desk(services)


async def wish_for(services: MemoryServices, request: PictureRequest = REQUEST) -> int:
    """An open wish that somebody is about to make."""
    return await services.ledger.make_wish(new_wish(request, GENERATE, owner="anonymous"), held_for=LEASE)


def begin(services: MemoryServices, request: PictureRequest = REQUEST) -> asyncio.Task[Any]:
    return asyncio.create_task(services.coordinator.find(request, LookupOptions(permit=GENERATE.permit)))


async def made(services: MemoryServices, provider: GatedProvider, request: PictureRequest = REQUEST) -> None:
    """Have the picture made."""
    provider.gate.set()
    await begin(services, request)


async def failed(services: MemoryServices, provider: GatedProvider) -> None:
    """Have the picture refused."""
    provider.failures.append(ProviderFailed(FailureClass.MODERATED, "no"))
    with pytest.raises(Exception, match="refused"):
        await made(services, provider)
