"""The only place that wires adapters to the core."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from copperplate.adapters.system_clock import SystemClock
from copperplate.asking import Asking
from copperplate.coordinator import Coordinator
from copperplate.errors import Misconfigured
from copperplate.imaging import PillowImages
from copperplate.kinds import Kind
from copperplate.model import Needs, PictureFormat
from copperplate.serving import Serving
from copperplate.timings import Timings
from copperplate.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.adapters.vercel_cdn import VercelCdn
    from copperplate.ports import Cdn, Clock, ObjectStore, Provider, Verifier
    from copperplate.settings import Settings

    Stores = Mapping[str, ObjectStore]  # by bucket

IMAGE_BUCKET = "generated-images"
MEMOJI_BUCKET = "memoji-images"
BUCKETS = (IMAGE_BUCKET, MEMOJI_BUCKET)
MEMOJI_MAX_BYTES = 5_000_000
# A memoji is a PNG that is handed out as an address.
NEEDS = {
    IMAGE_BUCKET: Needs(),
    MEMOJI_BUCKET: Needs(media_types=frozenset({PictureFormat.PNG.media_type}), address=True),
}
# OpenAI takes half a minute at high quality, and two when it is busy.
MEMOJI_WAITS = 4
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
    asking: Asking
    usage: Usage
    verifier: Verifier

    @property
    def image_provider(self) -> Provider:
        """Who makes pictures asked for by URL."""
        return self.kinds["image"].provider

    @property
    def memoji_provider(self) -> Provider:
        """Who makes memoji; raises `Misconfigured` where nobody does, and pictures are served all the same."""
        kind = self.kinds.get("memoji")
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
    """Images alone: the bytes of memoji go from Storage to whoever looks at them, past us."""
    if not settings.has_disk_cache:
        return stores
    from copperplate.adapters.disk_cache import CachedStore, DiskCache

    cache = DiskCache(settings.disk_cache_dir, settings.disk_cache_bytes)
    return {**stores, IMAGE_BUCKET: CachedStore(stores[IMAGE_BUCKET], cache)}


@contextlib.asynccontextmanager
async def _wire(settings: Settings, ledger: SqlLedger, stores: Stores) -> AsyncIterator[Services]:
    _check_installed("PIL", "images")
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
    usage = Usage(ledger=ledger, providers={name: kind.provider for name, kind in kinds.items()}, clock=clock)
    verifier = make_verifier(settings, clock)
    asking = Asking(coordinator=coordinator, ledger=ledger, accounts=ledger, usage=usage, clock=clock)
    try:
        yield Services(
            settings=settings,
            clock=clock,
            ledger=ledger,
            coordinator=coordinator,
            kinds=kinds,
            stores=stores,
            serving=serving,
            asking=asking,
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
    kinds = {
        "image": Kind(
            provider=make_image_provider(settings, clock), store=stores[IMAGE_BUCKET], needs=NEEDS[IMAGE_BUCKET]
        )
    }
    if (provider := make_memoji_provider(settings, clock)) is not None:
        kinds["memoji"] = Kind(
            provider=provider,
            store=stores[MEMOJI_BUCKET],
            needs=NEEDS[MEMOJI_BUCKET],
            wait=settings.wait * MEMOJI_WAITS,
            max_bytes=MEMOJI_MAX_BYTES,
        )
    return kinds


@contextlib.asynccontextmanager
async def open_backend(settings: Settings) -> AsyncIterator[tuple[SqlLedger, Stores]]:
    """Ledger, and stores by bucket: a Supabase project where one is set, else Postgres and a folder.

    `COPPERPLATE_LEDGER` may mix them. Drivers are imported here and not above: importing the app stays cheap.
    Raises `Misconfigured`.
    """
    check(settings)
    url, key = settings.supabase_url, settings.supabase_key
    if url is None or key is None:
        from copperplate.adapters.filesystem import FolderStore

        async with _open_postgres(settings) as ledger:
            yield ledger, {bucket: FolderStore(settings.data_dir / "objects", bucket) for bucket in BUCKETS}
        return
    from copperplate.adapters.supabase_http import make_client
    from copperplate.adapters.supabase_storage import SupabaseStore

    async with make_client() as client:
        stores = {bucket: SupabaseStore(client, url, key, bucket) for bucket in BUCKETS}
        if settings.ledger == "postgres":
            async with _open_postgres(settings) as ledger:
                yield ledger, stores
            return
        from copperplate.adapters.ledger.postgrest import PostgrestLedger

        yield PostgrestLedger(client, f"{url}/rest/v1", key), stores


@contextlib.asynccontextmanager
async def open_cdns(settings: Settings) -> AsyncIterator[Sequence[Cdn]]:
    """The CDNs that can be purged: Storage's in a Supabase project, Vercel's where a token to purge it is set."""
    async with contextlib.AsyncExitStack() as opened:
        cdns: list[Cdn] = []
        if settings.supabase_url is not None and settings.supabase_key is not None:
            from copperplate.adapters.supabase_cdn import StorageCdn
            from copperplate.adapters.supabase_http import make_client

            client = await opened.enter_async_context(make_client())
            cdns.append(StorageCdn(client, settings.supabase_url, settings.supabase_key))
        if settings.vercel_token is not None:
            cdns.append(await opened.enter_async_context(_make_vercel_cdn(settings, settings.vercel_token)))
        yield cdns


def _make_vercel_cdn(settings: Settings, token: str) -> VercelCdn:
    if settings.vercel_project_id is None:
        raise Misconfigured("COPPERPLATE_VERCEL_TOKEN needs VERCEL_PROJECT_ID beside it.")
    _check_installed("httpx", "supabase")
    from copperplate.adapters.vercel_cdn import VercelCdn

    return VercelCdn(
        settings.vercel_api_url,
        token=token,
        project_id=settings.vercel_project_id,
        team_id=settings.vercel_team_id,
    )


@contextlib.asynccontextmanager
async def _open_postgres(settings: Settings) -> AsyncIterator[SqlLedger]:
    _check_installed("psycopg_pool", "postgres")
    from copperplate.adapters.ledger.postgres import PostgresLedger

    # It repeats with every try what the ledger says once, and what its errors say.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    ledger = PostgresLedger(settings.database_url or "", pooler=settings.pooler)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def make_verifier(settings: Settings, clock: Clock) -> Verifier:
    """Who tells whose a token is: the Supabase project's keys, and its legacy secret where that is set.

    Where there is neither, nobody can sign in, and whoever tries is told what to set. Nothing is imported before
    the first token.
    """
    from copperplate.adapters.supabase_keys import SigningKeys
    from copperplate.adapters.supabase_users import LOCAL_ISSUER, NobodySignsIn, SupabaseUsers

    if settings.supabase_url is None and settings.supabase_jwt_secret is None:
        return NobodySignsIn("set SUPABASE_URL (and SUPABASE_JWT_SECRET for a legacy project)")
    if missing := _not_installed("users", "jwt", "cryptography", "httpx"):
        return NobodySignsIn(missing)
    url = settings.supabase_url
    return SupabaseUsers(
        issuer=LOCAL_ISSUER if url is None else f"{url}/auth/v1",
        keys=None if url is None else SigningKeys(f"{url}/auth/v1/.well-known/jwks.json", clock),
        secret=settings.supabase_jwt_secret,
        clock=clock,
    )


def make_image_provider(settings: Settings, clock: Clock) -> Provider:
    """Who makes pictures asked for by URL: whom `COPPERPLATE_PROVIDER` names, else fal by its key, else the painter.

    A deployment never falls back to the painter: its pictures are no substitute for what was asked.
    Raises `Misconfigured`, naming the variable to set.
    """
    name = settings.provider or ("fal" if settings.fal_key else "painter")
    if name == "painter" and settings.provider is None and _is_deployed(settings):
        raise Misconfigured("Nobody makes pictures: set FAL_KEY, or name a provider in COPPERPLATE_PROVIDER.")
    return _make_provider(name, settings, clock, Model("COPPERPLATE_IMAGE_MODEL", settings.image_model))


def make_memoji_provider(settings: Settings, clock: Clock) -> Provider | None:
    """Who draws memoji: OpenAI by its key, unless `COPPERPLATE_PROVIDER` names the painter; else whom that names.

    None where nobody does: a deployment never falls back to the painter. Raises `Misconfigured`.
    """
    name = settings.provider or "painter"
    if settings.openai_api_key is not None and settings.provider != "painter":
        name = "openai"
    if name == "painter" and settings.provider is None and _is_deployed(settings):
        return None
    return _make_provider(name, settings, clock, Model("COPPERPLATE_MEMOJI_MODEL", settings.memoji_model))


def require_memoji_provider(provider: Provider | None) -> Provider:
    """The provider there is; raises `Misconfigured`, naming the variable to set, where nobody makes memoji."""
    if provider is None:
        raise Misconfigured("Nobody makes memoji: set OPENAI_API_KEY, or name a provider in COPPERPLATE_PROVIDER.")
    return provider


def _is_deployed(settings: Settings) -> bool:
    return settings.on_vercel or settings.supabase_url is not None


class Model(NamedTuple):
    """A model, and the variable that names it."""

    variable: str
    name: str | None


def _make_provider(name: str, settings: Settings, clock: Clock, model: Model) -> Provider:
    if name == "fal":
        return _make_fal(settings, clock, model)
    if name == "openai":
        return _make_openai(settings, clock, model)
    from copperplate.adapters.painter import Painter

    return Painter(clock=clock, seconds=settings.painter.total_seconds())


def _make_fal(settings: Settings, clock: Clock, model: Model) -> Provider:
    if settings.fal_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=fal needs FAL_KEY.")
    _check_installed("fal_client", "fal")
    from copperplate.adapters.fal import Fal
    from copperplate.recipes.image import DEFAULT_MODEL

    return Fal(
        key=settings.fal_key,
        clock=clock,
        model=model.name or DEFAULT_MODEL,
        variable=model.variable,
        queue_url=settings.fal_queue_url,
        retention=settings.job_retention,
        result_hosts=settings.result_hosts,
        seconds=settings.provider_deadline.total_seconds(),
    )


def _make_openai(settings: Settings, clock: Clock, model: Model) -> Provider:
    if settings.openai_api_key is None:
        raise Misconfigured("COPPERPLATE_PROVIDER=openai needs OPENAI_API_KEY.")
    _check_installed("openai", "openai")
    from copperplate.adapters.openai import DEFAULT_MODEL, OpenAIImages

    return OpenAIImages(
        key=settings.openai_api_key,
        clock=clock,
        model=model.name or DEFAULT_MODEL,
        variable=model.variable,
        base_url=settings.openai_base_url,
        seconds=settings.provider_deadline.total_seconds(),
    )


def _check_installed(module: str, extra: str) -> None:
    if missing := _not_installed(extra, module):
        raise Misconfigured(f"What this needs is not installed: {missing}.")


def _not_installed(extra: str, *modules: str) -> str | None:
    if all(importlib.util.find_spec(module) for module in modules):
        return None
    return f"pip install 'copperplate[{extra}]'"


def check(settings: Settings) -> None:
    """Refuse what `open_backend` cannot open: raises `Misconfigured`, naming what to set."""
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
