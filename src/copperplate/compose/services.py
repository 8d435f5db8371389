"""Opens and closes `Services`, wired by the settings."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

from copperplate.access.api_keys import KeyRing
from copperplate.access.gate import Gate
from copperplate.access.sign_ins import SignIns
from copperplate.accounts.user_requests import UserRequests
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose.backends import make_cdn_purges, open_backend
from copperplate.compose.identity import make_verifier
from copperplate.compose.installed import check_installed
from copperplate.compose.providers import make_provider, processing_models, processing_prices
from copperplate.compose.tiers import make_tiers
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.imaging.pillow_images import PillowImages
from copperplate.processing.service import Processing
from copperplate.processing.sources import Sources
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.services import Services, require_provider
from copperplate.serving.drawn_placeholders import DrawnPlaceholders
from copperplate.serving.event_tokens import EventTokens
from copperplate.serving.renditions import Renditions
from copperplate.serving.request_meter import RequestMeter
from copperplate.serving.tier_reports import TierReporter
from copperplate.serving.watches import Watches
from copperplate.work.promises import Promises
from copperplate.work.step import WorkStep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.adapters.picture_sources import Web
    from copperplate.compose.backends import Stores
    from copperplate.ports import Cleaner, Clock, Images
    from copperplate.ports.sources import PictureSource
    from copperplate.services import WholeLedger
    from copperplate.settings import Settings

DRAIN_SECONDS = 10.0
# For a picture that a caller names by its address.
FETCH_SECONDS = 20.0


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything, wired for these settings, open until the block ends.

    At the end generations under way get ten seconds to land, and what was counted is flushed.
    Raises `Misconfigured`, naming the variables to set.
    """
    async with (
        open_backend(settings) as (ledger, stores),
        _running(settings, ledger, stores) as services,
    ):
        yield services


@contextlib.asynccontextmanager
async def _running(settings: Settings, ledger: SqlLedger, stores: Stores) -> AsyncIterator[Services]:
    clock = SystemClock()
    images = make_images(settings)
    web = _make_web() if settings.process_urls else None
    services = assemble(
        settings,
        clock=clock,
        ledger=ledger,
        kinds=_make_kinds(settings, clock, stores),
        stores=stores,
        images=images,
        cleaner=images,
        web=web,
        timings=Timings(
            lease=settings.lease,
            heartbeat=settings.heartbeat,
            margin=settings.lease / 10,
            wait=settings.wait,
            job_retention=settings.job_retention,
        ),
    )
    async with contextlib.AsyncExitStack() as stack:
        # Closed in reverse, each of them also where the one before it fails.
        stack.callback(images.close)
        if web is not None:
            stack.push_async_callback(web.close)
        stack.push_async_callback(services.request_meter.close)
        stack.push_async_callback(services.tiers.close)
        stack.push_async_callback(services.verifier.close)
        for kind in services.kinds.values():
            stack.push_async_callback(kind.provider.close)
        stack.push_async_callback(services.renditions.close)
        stack.push_async_callback(services.shut_down, within_seconds=DRAIN_SECONDS)
        yield services


def _make_web() -> Web:
    """Where pictures are fetched from by address: port 443 of public hosts, for less than a request may take."""
    check_installed("httpx", "fal")
    from copperplate.adapters.picture_sources import Web, make_web_client

    client = make_web_client(ssl.create_default_context())
    return Web(client, PROCESSED.max_bytes, ports=(443,), seconds=FETCH_SECONDS)


def make_images(settings: Settings) -> PillowImages:
    """Who verifies and encodes pictures; its caller closes it. Raises `Misconfigured` where Pillow is not installed."""
    check_installed("PIL", "images")
    return PillowImages(has_labels=settings.provenance == "xmp")


def assemble(  # noqa: PLR0913 - each adapter once
    settings: Settings,
    *,
    clock: Clock,
    ledger: WholeLedger,
    kinds: Mapping[str, Kind],
    stores: Stores,
    images: Images,
    cleaner: Cleaner,
    timings: Timings,
    web: PictureSource | None = None,
) -> Services:
    """The core over these adapters; without `web` nothing is fetched by address. The caller closes what it opened."""

    def note_cdn_purges(due: frozenset[str]) -> None:
        work.cdns.note_purges(due)

    tiers = make_tiers(settings, ledger, clock, note_cdn_purges=note_cdn_purges)
    coordinator = Coordinator(
        ledger=ledger,
        kinds=kinds,
        images=images,
        clock=clock,
        timings=timings,
        max_waiters=settings.max_waiters,
        ahead=settings.render_ahead,
        begin_fill=tiers.begin_fill,
    )
    providers = {name: kind.provider for name, kind in kinds.items()}
    gate = Gate(settings=settings, kinds=kinds, clock=clock)
    sources = Sources(ledger=ledger, cleaner=cleaner, stores=stores, clock=clock, web=web)
    work = WorkStep(
        ledger=ledger,
        coordinator=coordinator,
        gate=gate,
        kinds=kinds,
        clock=clock,
        lease=timings.lease,
        in_flight=settings.work_items,
        with_input=sources.with_input,
        cdn_purges=make_cdn_purges(settings, ledger, stores),
    )
    meter = RequestMeter(
        ledger=ledger,
        providers=providers,
        clock=clock,
        note_due=work.note_due,
        beside_flush=TierReporter(ledger, tiers, clock).report_when_due,
    )
    promises = Promises(coordinator=coordinator, ledger=ledger, request_meter=meter, clock=clock, lease=timings.lease)
    return Services(
        settings=settings,
        clock=clock,
        ledger=ledger,
        coordinator=coordinator,
        kinds=kinds,
        stores=stores,
        images=images,
        renditions=Renditions(
            coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock, tiers=tiers
        ),
        tiers=tiers,
        placeholders=DrawnPlaceholders(images),
        promises=promises,
        work=work,
        watches=Watches(ledger, clock),
        event_tokens=EventTokens(ledger=ledger, clock=clock),
        user_requests=UserRequests(
            coordinator=coordinator,
            promises=promises,
            ledger=ledger,
            stores=stores,
            accounts=ledger,
            request_meter=meter,
            clock=clock,
        ),
        processing=Processing(
            models=processing_models(kinds),
            sources=sources,
            coordinator=coordinator,
            promises=promises,
            ledger=ledger,
            gate=gate,
            request_meter=meter,
            clock=clock,
            prices=processing_prices(kinds, settings),
        ),
        request_meter=meter,
        verifier=SignIns(make_verifier(settings, clock), clock),
        key_ring=KeyRing(keys=ledger, clock=clock),
        gate=gate,
    )


def _make_kinds(settings: Settings, clock: Clock, stores: Stores) -> dict[str, Kind]:
    """Those that somebody makes. Raises `Misconfigured` where nobody makes one that is not optional."""
    kinds = {}
    for name, spec in KINDS.items():
        provider = make_provider(name, settings, clock)
        if provider is None and spec.is_optional:
            continue
        provider = require_provider(name, provider)
        kinds[name] = Kind.of(spec, provider=provider, store=stores[spec.bucket], wait=settings.wait)
    return kinds
