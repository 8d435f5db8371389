"""Everything the edges work with, opened and closed together."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.accounts.user_requests import UserRequests
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose.backends import open_backend
from copperplate.compose.identity import make_verifier
from copperplate.compose.installed import check_installed
from copperplate.compose.providers import make_provider, require_memoji_provider
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.imaging.codec import PillowImages
from copperplate.recipes.kinds import IMAGE, KINDS, MEMOJI
from copperplate.serving.renditions import Serving
from copperplate.serving.request_meter import RequestMeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.compose.backends import Stores
    from copperplate.ports import Clock, Provider, Verifier
    from copperplate.settings import Settings

DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the edges (HTTP, CLI) work with."""

    settings: Settings
    clock: Clock
    ledger: SqlLedger
    coordinator: Coordinator
    kinds: dict[str, Kind]
    stores: Stores
    serving: Serving
    user_requests: UserRequests
    usage: RequestMeter
    verifier: Verifier

    @property
    def image_provider(self) -> Provider:
        """Who makes pictures asked for by URL."""
        return self.kinds[IMAGE.name].provider

    @property
    def memoji_provider(self) -> Provider:
        """Who makes memoji; raises `Misconfigured` where nobody does, and pictures are served all the same."""
        kind = self.kinds.get(MEMOJI.name)
        return require_memoji_provider(None if kind is None else kind.provider)

    async def drain(self, *, within_seconds: float) -> None:
        """Let generations under way land for a while, hand the late ones over, and flush what was counted."""
        await self.coordinator.drain(within_seconds=within_seconds)
        await self.usage.flush()


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything, wired for these settings, open until the block ends.

    At the end generations under way get ten seconds to land, and what was counted is flushed.
    Raises `Misconfigured`, naming the variables to set.
    """
    async with (
        open_backend(settings) as (ledger, stores),
        _wire(settings, ledger, _with_disk_cache(settings, stores)) as services,
    ):
        yield services


def _with_disk_cache(settings: Settings, stores: Stores) -> Stores:
    """Of the kinds whose bytes we serve: where an address is handed out, they go past us."""
    if not settings.has_disk_cache:
        return stores
    from copperplate.adapters.disk_cache import CachedStore, DiskCache

    cache = DiskCache(settings.disk_cache_dir, settings.disk_cache_bytes)
    served = [spec.bucket for spec in KINDS.values() if not spec.needs.address]
    return {**stores, **{bucket: CachedStore(stores[bucket], cache) for bucket in served}}


@contextlib.asynccontextmanager
async def _wire(settings: Settings, ledger: SqlLedger, stores: Stores) -> AsyncIterator[Services]:
    check_installed("PIL", "images")
    clock = SystemClock()
    images = PillowImages()
    kinds = _make_kinds(settings, clock, stores)
    timings = Timings(
        lease=settings.lease,
        heartbeat=settings.heartbeat,
        margin=settings.lease / 10,
        wait=settings.wait,
        job_retention=settings.job_retention,
    )
    coordinator = Coordinator(
        ledger=ledger, kinds=kinds, images=images, clock=clock, timings=timings, max_waiters=settings.max_waiters
    )
    serving = Serving(coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock)
    usage = RequestMeter(ledger=ledger, providers={name: kind.provider for name, kind in kinds.items()}, clock=clock)
    verifier = make_verifier(settings, clock)
    user_requests = UserRequests(coordinator=coordinator, ledger=ledger, accounts=ledger, usage=usage, clock=clock)
    try:
        yield Services(
            settings=settings,
            clock=clock,
            ledger=ledger,
            coordinator=coordinator,
            kinds=kinds,
            stores=stores,
            serving=serving,
            user_requests=user_requests,
            usage=usage,
            verifier=verifier,
        )
    finally:
        await coordinator.drain(within_seconds=DRAIN_SECONDS)
        for kind in kinds.values():
            await kind.provider.close()
        await verifier.close()
        await usage.close()
        images.close()


def _make_kinds(settings: Settings, clock: Clock, stores: Stores) -> dict[str, Kind]:
    """Those that somebody makes."""
    makers = {name: make_provider(name, settings, clock) for name in KINDS}
    return {
        name: Kind.of(spec, provider=provider, store=stores[spec.bucket], wait=settings.wait)
        for name, spec in KINDS.items()
        if (provider := makers[name]) is not None
    }
