"""`supabase/types/database.ts` says what the database is today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from scripts.database_types import FILE, generate

if TYPE_CHECKING:
    from copperplate.local.cluster import Cluster
    from tests.support.supabase_cli import SupabaseCli


def test_types_are_those_of_the_migrations_of_today(supabase_cli: SupabaseCli, cluster: Cluster, database: str) -> None:
    made = generate(supabase_cli, cluster.tcp_url(database=database))
    assert "get_generation_stats" in made
    assert made == FILE.read_text(), "supabase/types/database.ts is stale: run `make types`"


def test_types_follow_the_database(supabase_cli: SupabaseCli, cluster: Cluster, database: str) -> None:
    with psycopg.connect(cluster.url(database=database)) as connection:
        connection.execute("alter table public.generation_status add column mood text")
    assert "mood: string | null" in generate(supabase_cli, cluster.tcp_url(database=database))
