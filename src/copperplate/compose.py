"""The only place that wires adapters to the core."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.adapters.system_clock import SystemClock
from copperplate.coordinator import Coordinator
from copperplate.errors import Misconfigured
from copperplate.imaging import PillowImages
from copperplate.leader import Kind, Timings
from copperplate.serving import Serving
from copperplate.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.adapters.postgres import PostgresLedger
    from copperplate.adapters.postgrest import PostgrestLedger
    from copperplate.ports import Cdn, Clock, ObjectStore, Provider
    from copperplate.settings import Settings

    AnyLedger = PostgresLedger | PostgrestLedger

IMAGE_BUCKET = "generated-images"
DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the edges (HTTP, CLI) work with."""

    settings: Settings
    clock: Clock
    ledger: AnyLedger
    coordinator: Coordinator
    kinds: dict[str, Kind]
    serving: Serving
    usage: Usage

    @property
    def image_provider(self) -> Provider:
        """Who makes pictures asked for by URL."""
        return self.kinds["image"].provider

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
        open_backend(settings) as (ledger, store),
        _wire(settings, ledger, _with_disk_cache(settings, store)) as services,
    ):
        yield services


def _with_disk_cache(settings: Settings, store: ObjectStore) -> ObjectStore:
    if not settings.has_disk_cache:
        return store
    from copperplate.adapters.disk_cache import CachedStore, DiskCache

    return CachedStore(store, DiskCache(settings.disk_cache_dir, settings.disk_cache_bytes))


@contextlib.asynccontextmanager
async def _wire(settings: Settings, ledger: AnyLedger, store: ObjectStore) -> AsyncIterator[Services]:
    clock = SystemClock()
    images = PillowImages()
    provider = make_image_provider(settings, clock)
    kinds = {"image": Kind(provider=provider, store=store)}
    timings = Timings(
        lease=settings.lease,
        heartbeat=settings.heartbeat,
        margin=settings.lease / 10,
        wait=settings.wait,
    )
    coordinator = Coordinator(
        ledger=ledger, kinds=kinds, images=images, clock=clock, timings=timings, max_waiters=settings.max_waiters
    )
    serving = Serving(coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock)
    usage = Usage(ledger=ledger, providers={"image": provider}, clock=clock)
    try:
        yield Services(
            settings=settings,
            clock=clock,
            ledger=ledger,
            coordinator=coordinator,
            kinds=kinds,
            serving=serving,
            usage=usage,
        )
    finally:
        await coordinator.drain(within_seconds=DRAIN_SECONDS)
        await provider.close()
        await usage.close()
        images.close()


@contextlib.asynccontextmanager
async def open_backend(settings: Settings) -> AsyncIterator[tuple[AnyLedger, ObjectStore]]:
    """Ledger and store: a Supabase project where one is set, else Postgres and a folder.

    `COPPERPLATE_LEDGER` may mix them. Drivers are imported here and not above: importing the app stays cheap.
    Raises `Misconfigured`.
    """
    _check(settings)
    url, key = settings.supabase_url, settings.supabase_key
    if url is None or key is None:
        from copperplate.adapters.filesystem import FolderStore

        async with _open_postgres(settings) as ledger:
            yield ledger, FolderStore(settings.data_dir / "objects", IMAGE_BUCKET)
        return
    from copperplate.adapters.supabase_http import make_client
    from copperplate.adapters.supabase_storage import SupabaseStore

    async with make_client() as client:
        store = SupabaseStore(client, url, key, IMAGE_BUCKET)
        if settings.ledger == "postgres":
            async with _open_postgres(settings) as ledger:
                yield ledger, store
            return
        from copperplate.adapters.postgrest import PostgrestLedger

        yield PostgrestLedger(client, f"{url}/rest/v1", key), store


@contextlib.asynccontextmanager
async def open_cdn(settings: Settings) -> AsyncIterator[Cdn | None]:
    """Vercel's CDN, where a token to purge it is set."""
    if settings.vercel_token is None:
        yield None
        return
    if settings.vercel_project_id is None:
        raise Misconfigured("COPPERPLATE_VERCEL_TOKEN needs VERCEL_PROJECT_ID beside it.")
    _check_installed("httpx", "supabase")
    from copperplate.adapters.vercel_cdn import VercelCdn

    async with VercelCdn(
        settings.vercel_api_url,
        token=settings.vercel_token,
        project_id=settings.vercel_project_id,
        team_id=settings.vercel_team_id,
    ) as cdn:
        yield cdn


@contextlib.asynccontextmanager
async def _open_postgres(settings: Settings) -> AsyncIterator[PostgresLedger]:
    from copperplate.adapters.postgres import PostgresLedger

    ledger = PostgresLedger(settings.database_url or "")
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def make_image_provider(settings: Settings, clock: Clock) -> Provider:
    """Who makes pictures asked for by URL: whom `COPPERPLATE_PROVIDER` names, else fal by its key, else the painter.

    A deployment never falls back to the painter: its pictures are no substitute for what was asked.
    Raises `Misconfigured`, naming the variable to set.
    """
    name = settings.provider or ("fal" if settings.fal_key else "painter")
    if name == "fal":
        return _make_fal(settings, clock)
    if name == "openai":
        return _make_openai(settings, clock)
    if settings.provider is None and (settings.on_vercel or settings.supabase_url is not None):
        raise Misconfigured("Nobody makes pictures: set FAL_KEY, or name a provider in COPPERPLATE_PROVIDER.")
    from copperplate.adapters.painter import Painter

    return Painter(clock=clock, seconds=settings.painter.total_seconds())


def _make_fal(settings: Settings, clock: Clock) -> Provider:
    if settings.fal_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=fal needs FAL_KEY.")
    _check_installed("fal_client", "fal")
    from copperplate.adapters.fal import Fal
    from copperplate.recipes.image import DEFAULT_MODEL

    return Fal(
        key=settings.fal_key,
        clock=clock,
        model=settings.image_model or DEFAULT_MODEL,
        queue_url=settings.fal_queue_url,
        seconds=settings.provider_deadline.total_seconds(),
    )


def _make_openai(settings: Settings, clock: Clock) -> Provider:
    if settings.openai_api_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=openai needs OPENAI_API_KEY.")
    _check_installed("openai", "openai")
    from copperplate.adapters.openai import DEFAULT_MODEL, OpenAIImages

    return OpenAIImages(
        key=settings.openai_api_key,
        clock=clock,
        model=settings.image_model or DEFAULT_MODEL,
        base_url=settings.openai_base_url,
        seconds=settings.provider_deadline.total_seconds(),
    )


def _check_installed(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Misconfigured(f"What this needs is not installed: pip install 'copperplate[{extra}]'.")


def _check(settings: Settings) -> None:
    """Refuse what cannot work, naming what to set."""
    if settings.on_vercel and settings.supabase_url is None:
        raise Misconfigured(
            "On Vercel Copperplate needs Supabase: set SUPABASE_URL and SUPABASE_SECRET_KEY in the project's settings."
        )
    if settings.supabase_url is not None:
        if settings.supabase_key is None:
            raise Misconfigured("SUPABASE_URL needs SUPABASE_SECRET_KEY beside it (or SUPABASE_SERVICE_ROLE_KEY).")
        _check_installed("postgrest", "supabase")
    if settings.ledger == "postgres" and settings.database_url is None:
        raise Misconfigured("COPPERPLATE_LEDGER=postgres needs DATABASE_URL.")
    if settings.supabase_url is None and settings.database_url is None:
        raise Misconfigured(
            "There is no database: set SUPABASE_URL or DATABASE_URL, or use `copperplate dev`, which brings its own."
        )
