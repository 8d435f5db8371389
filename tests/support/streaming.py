"""One process whose picture is made when a test says so, and what its streams are asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.testing import GENERATE
from copperplate.work.promises import new_wish
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.pictures import picture_request
from tests.unit.test_http_memoji import SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, Job, PictureRequest, ProviderResult
    from tests.support.memory_services import MemoryServices

REQUEST = picture_request()
KEY = REQUEST.generation_key
EVENTS = f"/api/generations/{KEY}/events"
PICTURE = f"http://pictures.test/api/images/{KEY}"
ALLOWED = {"COPPERPLATE_ALLOWED_HOSTS": "pictures.test", "SUPABASE_JWT_SECRET": SECRET}
LEASE = timedelta(seconds=20)


@dataclass
class GatedProvider(ScriptedProvider):
    """Makes nothing until the gate is opened."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[bytes] = ()) -> Job | ProviderResult:
        await self.gate.wait()
        return await super().submit(recipe, inputs)


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
