"""The same migrations and the same ledger on the oldest Postgres we promise, where this machine has one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.ledger_answers import Hit
from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate
from copperplate.model import Outcome
from tests.contract.ledger.harness import LEASE, complete, request_count
from tests.support.pictures import picture_request, rendition
from tests.support.postgres_fixtures import OLDER_MAJORS

if TYPE_CHECKING:
    from copperplate.local.cluster import Cluster

PROMISED = (
    "select prompt, dimensions, format, access_count, created_at from public.image_cache order by 4 desc limit 10",
    "select count(*), sum(file_size), avg(access_count) from public.image_cache",
    "select cleanup_old_cache_entries()",
    "select * from get_generation_stats()",
    "select * from get_cache_stats()",
    "select prompt, (total_requests - api_calls_made) as api_calls_saved, status from public.generation_status",
    "delete from public.image_cache where prompt_hash = 'none' returning prompt",
    "select public.purge_entries(p_prompt => 'nobody asked for this')",
)


@pytest.fixture(scope="module")
def older(older_cluster: Cluster) -> Cluster:
    """It, migrated."""
    migrate(older_cluster.owner_url, announce=ignore)
    return older_cluster


async def test_picture_is_led_completed_hit_and_counted_on_an_older_postgres(older: Cluster) -> None:
    with psycopg.connect(older.owner_url) as connection:
        assert connection.info.server_version // 10_000 in OLDER_MAJORS
    ledger = PostgresLedger(older.owner_url)
    await ledger.open()
    original = await complete(ledger, picture_request())
    await ledger.intend_rendition(original, rendition(picture_request(), "jpg"))
    made = await ledger.record_rendition(original, rendition(picture_request(), "jpg"))
    assert made is not None
    assert await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE) == Hit(entry=made)
    await ledger.record_usage(
        [request_count(picture_request(), Outcome.GENERATED, 1), request_count(picture_request(), Outcome.HIT, 9)]
    )
    stats = await ledger.generation_stats()
    assert (stats.total_requests, stats.total_api_calls_made, stats.total_api_calls_saved) == (10, 1, 9)
    assert await ledger.sweep(10) == 0
    assert await ledger.claim_discarded(10) == []
    await ledger.close()


def test_promised_sql_runs_on_an_older_postgres(older: Cluster) -> None:
    with psycopg.connect(older.owner_url, autocommit=True) as editor:
        for statement in PROMISED:
            editor.execute(statement.encode()).fetchall()
