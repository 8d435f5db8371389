"""Which ledger and store a process opens, by its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.ledger.postgrest import PostgrestLedger
from copperplate.compose import open_services
from copperplate.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standin.supabase import Supabase

NAMED = {"COPPERPLATE_PROVIDER": "painter"}


async def opened(environment: dict[str, str]) -> tuple[type, type]:
    """The ledger and the store, after one call of the ledger."""
    async with open_services(Settings.from_env({**NAMED, **environment})) as services:
        assert (await services.ledger.generation_stats()).total_requests == 0
        return type(services.ledger), type(services.kinds["image"].store)


async def test_database_alone_is_the_ledger_beside_a_folder(owner_url: str, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": owner_url, "COPPERPLATE_DATA_DIR": str(tmp_path)}
    assert await opened(environment) == (PostgresLedger, FolderStore)


@pytest.mark.parametrize("has_database_url", [False, True])
@pytest.mark.parametrize("variable", ["SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"])
async def test_supabase_is_ledger_and_store_with_either_key_and_whatever_else_is_set(
    supabase: Supabase, owner_url: str, variable: str, has_database_url: bool
) -> None:
    storage = pytest.importorskip("copperplate.adapters.supabase.storage", reason="no store for Supabase yet")
    key = supabase.secret_key if variable == "SUPABASE_SECRET_KEY" else supabase.service_role_key
    environment = {"SUPABASE_URL": supabase.url, variable: key}
    if has_database_url:
        environment["DATABASE_URL"] = owner_url
    assert await opened(environment) == (PostgrestLedger, storage.SupabaseStore)
    assert "POST /rest/v1/rpc/get_generation_stats" in supabase.requests


async def test_ledger_can_be_reached_directly_while_pictures_stay_in_supabase(
    supabase: Supabase, owner_url: str
) -> None:
    storage = pytest.importorskip("copperplate.adapters.supabase.storage", reason="no store for Supabase yet")
    environment = {
        "SUPABASE_URL": supabase.url,
        "SUPABASE_SECRET_KEY": supabase.secret_key,
        "DATABASE_URL": owner_url,
        "COPPERPLATE_LEDGER": "postgres",
    }
    assert await opened(environment) == (PostgresLedger, storage.SupabaseStore)
    assert supabase.requests == []
