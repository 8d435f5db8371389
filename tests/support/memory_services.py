"""Everything HTTP works with, in memory: no database, no disk, no Pillow, a provider that counts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose import assemble
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.http.app import create_app
from copperplate.recipes.kinds import MEMOJI, PROCESSED
from copperplate.services import Services
from copperplate.settings import Settings
from tests.support.coordinator_harness import BUCKET, PlainImages, ScriptedProvider
from tests.support.processing import CountingCleaner, ScriptedProcessor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from copperplate.ports import Clock, Images


def spent_of(ledger: MemoryLedger, key: str) -> int | None:
    """What the submits of a generation cost together; None where no price is known."""
    known = [submit.price_micro_usd for submit in ledger._submits if submit.generation_key == key]
    prices = [price for price in known if price is not None]
    return sum(prices) if prices else None


class CountingStore(MemoryStore):
    """Counts what is read."""

    gets = 0

    async def get(self, path: str) -> bytes:
        self.gets += 1
        return await super().get(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryServices(Services):
    """Services over memory, which a test can look into."""

    ledger: MemoryLedger
    stores: Mapping[str, CountingStore]
    image_provider: ScriptedProvider
    store: CountingStore
    processor: ScriptedProcessor
    cleaner: CountingCleaner

    @property
    def processed_store(self) -> CountingStore:
        """Where results of processing are, and what they are made from."""
        return self.stores[PROCESSED.bucket]


def memory_services(
    *,
    clock: Clock | None = None,
    wait_seconds: float = 30,
    environ: dict[str, str] | None = None,
    provider: Any = None,
    images: Images | None = None,
    max_waiters: int = 5_000,
    processor: ScriptedProcessor | None = None,
    **scripted: Any,
) -> MemoryServices:
    """Services that a test can look into; `scripted` is for `ScriptedProvider`."""
    clock = clock or SystemClock()
    ledger = MemoryLedger(clock)
    stores = {bucket: CountingStore(bucket, clock) for bucket in (BUCKET, MEMOJI.bucket, PROCESSED.bucket)}
    provider = provider or ScriptedProvider(FakeClock(), **scripted)  # it answers at once
    processor, cleaner = processor or ScriptedProcessor(), CountingCleaner()
    services = assemble(
        replace(Settings.from_env(environ or {}), max_waiters=max_waiters),
        clock=clock,
        ledger=ledger,
        kinds={
            "image": Kind(provider=provider, store=stores[BUCKET]),
            "memoji": Kind(provider=provider, store=stores[MEMOJI.bucket]),
            "processed": Kind(provider=processor, store=stores[PROCESSED.bucket]),
        },
        stores=stores,
        images=images or PlainImages(),
        cleaner=cleaner,
        timings=Timings(wait=timedelta(seconds=wait_seconds), look=timedelta(0)),
    )
    parts = {field.name: getattr(services, field.name) for field in fields(services)}
    own = {"image_provider": provider, "store": stores[BUCKET], "processor": processor, "cleaner": cleaner}
    return MemoryServices(**{**parts, **own})


@pytest.fixture
async def client(services: MemoryServices) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application over the `services` of the test's own file."""
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
        yield client
