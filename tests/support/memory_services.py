"""Everything HTTP works with, in memory: no database, no disk, no Pillow, a provider that counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.accounts.user_requests import UserRequests
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose import make_verifier
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.serving.renditions import Serving
from copperplate.serving.request_meter import RequestMeter
from copperplate.settings import Settings
from tests.support.coordinator_harness import BUCKET, PlainImages, ScriptedProvider

if TYPE_CHECKING:
    from copperplate.ports import Clock, Images, Verifier


class CountingStore(MemoryStore):
    """Counts what is read."""

    gets = 0

    async def get(self, path: str) -> bytes:
        self.gets += 1
        return await super().get(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryServices:
    """`http.wiring.Services` over memory."""

    settings: Settings
    clock: Clock
    ledger: MemoryLedger
    kinds: dict[str, Kind]
    stores: dict[str, CountingStore]
    user_requests: UserRequests
    verifier: Verifier
    serving: Serving
    usage: RequestMeter
    coordinator: Coordinator
    image_provider: ScriptedProvider
    store: CountingStore

    @property
    def memoji_provider(self) -> ScriptedProvider:
        return self.image_provider

    async def drain(self, *, within_seconds: float) -> None:
        await self.coordinator.drain(within_seconds=within_seconds)
        await self.usage.flush()


def memory_services(
    *,
    clock: Clock | None = None,
    wait_seconds: float = 30,
    environ: dict[str, str] | None = None,
    provider: Any = None,
    images: Images | None = None,
    max_waiters: int = 5_000,
    **scripted: Any,
) -> MemoryServices:
    """Services that a test can look into; `scripted` is for `ScriptedProvider`."""
    clock = clock or SystemClock()
    ledger, store = MemoryLedger(clock), CountingStore(BUCKET, clock)
    provider = provider or ScriptedProvider(FakeClock(), **scripted)  # it answers at once
    memoji_store = CountingStore("memoji-images", clock)
    kinds = {"image": Kind(provider=provider, store=store), "memoji": Kind(provider=provider, store=memoji_store)}
    images, timings = images or PlainImages(), Timings(wait=timedelta(seconds=wait_seconds), look=timedelta(0))
    coordinator = Coordinator(
        ledger=ledger, kinds=kinds, images=images, clock=clock, timings=timings, max_waiters=max_waiters
    )
    settings = Settings.from_env(environ or {})
    usage = RequestMeter(ledger=ledger, providers=dict.fromkeys(kinds, provider), clock=clock)
    return MemoryServices(
        settings=settings,
        clock=clock,
        ledger=ledger,
        kinds=kinds,
        stores={store.bucket: store, memoji_store.bucket: memoji_store},
        user_requests=UserRequests(coordinator=coordinator, ledger=ledger, accounts=ledger, usage=usage, clock=clock),
        verifier=make_verifier(settings, clock),
        serving=Serving(coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock),
        usage=usage,
        coordinator=coordinator,
        image_provider=provider,
        store=store,
    )
