"""Ledger, stores and CDNs: of a Supabase project, or of Postgres and a folder."""

from __future__ import annotations

import contextlib
import functools
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.compose.installed import check_installed
from copperplate.errors import Misconfigured
from copperplate.operations.cdn_purges import CdnPurges
from copperplate.ports.cdns import CdnScope
from copperplate.recipes.kinds import BUCKETS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from copperplate.adapters.ledger.sql_ledger import SqlLedger
    from copperplate.adapters.vercel_cdn import VercelCdn
    from copperplate.ports import Cdn, CdnOutbox, ObjectStore
    from copperplate.settings import Settings

    Stores = Mapping[str, ObjectStore]  # by bucket

# As objects are stored with it; what answers say is a setting.
STORAGE_COPIES_LIVE = timedelta(hours=1)


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
            root = settings.data_dir / "objects"
            yield (
                ledger,
                {bucket: FolderStore(root, bucket, is_public=spec.is_public) for bucket, spec in BUCKETS.items()},
            )
        return
    from copperplate.adapters.supabase.http import make_client
    from copperplate.adapters.supabase.storage import SupabaseStore

    async with make_client() as client:
        stores = {
            bucket: SupabaseStore(client, url, key, bucket, is_public=spec.is_public)
            for bucket, spec in BUCKETS.items()
        }
        if settings.ledger == "postgres":
            async with _open_postgres(settings) as ledger:
                yield ledger, stores
            return
        from copperplate.adapters.ledger.postgrest import PostgrestLedger

        yield PostgrestLedger(client, f"{url}/rest/v1", key), stores


def cdns_of(settings: Settings) -> Mapping[CdnScope, Callable[[], AbstractAsyncContextManager[Cdn]]]:
    """How to open the CDNs that can be purged: Storage's in a Supabase project, Vercel's where a token for it is set.

    Opening raises `Misconfigured`.
    """
    cdns = dict[CdnScope, "Callable[[], AbstractAsyncContextManager[Cdn]]"]()
    if settings.supabase_url is not None and settings.supabase_key is not None:
        cdns[CdnScope.OBJECT] = functools.partial(_open_storage_cdn, settings.supabase_url, settings.supabase_key)
    if settings.vercel_token is not None:
        cdns[CdnScope.TAG] = functools.partial(_make_vercel_cdn, settings, settings.vercel_token)
    return cdns


def make_cdn_purges(settings: Settings, outbox: CdnOutbox, stores: Stores) -> CdnPurges:
    """Who tells this process's CDNs."""
    live = max(settings.cdn + settings.cdn_stale, STORAGE_COPIES_LIVE)
    return CdnPurges(outbox, cdns_of(settings), copies_live=live, stores=stores)


@contextlib.asynccontextmanager
async def _open_storage_cdn(url: str, key: str) -> AsyncIterator[Cdn]:
    from copperplate.adapters.supabase.cdn import StorageCdn
    from copperplate.adapters.supabase.http import make_client

    async with make_client() as client:
        yield StorageCdn(client, url, key)


def _make_vercel_cdn(settings: Settings, token: str) -> VercelCdn:
    if settings.vercel_project_id is None:
        raise Misconfigured("COPPERPLATE_VERCEL_TOKEN needs VERCEL_PROJECT_ID beside it.")
    check_installed("httpx", "supabase")
    from copperplate.adapters.vercel_cdn import VercelCdn

    return VercelCdn(
        settings.vercel_api_url,
        token=token,
        project_id=settings.vercel_project_id,
        team_id=settings.vercel_team_id,
    )


@contextlib.asynccontextmanager
async def _open_postgres(settings: Settings) -> AsyncIterator[SqlLedger]:
    check_installed("psycopg_pool", "postgres")
    from copperplate.adapters.ledger.postgres import PostgresLedger

    # The pool logs with every try what the ledger logs once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    ledger = PostgresLedger(settings.database_url or "", pooler=settings.pooler)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def check(settings: Settings) -> None:
    """Refuse what `open_backend` cannot open: raises `Misconfigured`, naming what to set."""
    if settings.on_vercel and settings.supabase_url is None:
        raise Misconfigured(
            "On Vercel Copperplate needs Supabase: set SUPABASE_URL and SUPABASE_SECRET_KEY in the project's settings."
        )
    if settings.supabase_url is not None:
        if settings.supabase_key is None:
            raise Misconfigured("SUPABASE_URL needs SUPABASE_SECRET_KEY beside it (or SUPABASE_SERVICE_ROLE_KEY).")
        check_installed("postgrest", "supabase")
    if settings.ledger == "postgres" and settings.database_url is None:
        raise Misconfigured("COPPERPLATE_LEDGER=postgres needs DATABASE_URL.")
    if settings.supabase_url is None and settings.database_url is None:
        raise Misconfigured(
            "There is no database: set SUPABASE_URL or DATABASE_URL, or use `copperplate dev`, which brings its own."
        )
