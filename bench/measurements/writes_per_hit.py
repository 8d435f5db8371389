"""What hits write, and what followers read."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from bench.harness.callers import ask
from bench.harness.databases import cluster, complete, make_upload, put_picture, query, request_of, url_of
from bench.harness.figures import Figure, Run
from bench.harness.processes import dev
from copperplate.adapters.ledger.postgres import PostgresLedger, PostgresTransport
from copperplate.adapters.ledger.sql_ledger import SqlLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.painter import Painter
from copperplate.adapters.system_clock import SystemClock
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.imaging.pillow_images import PillowImages
from copperplate.ledger_answers import Lead
from copperplate.model import Outcome
from copperplate.testing import GENERATE

HITS, CONNECTIONS, MOST_WRITES = 10_000, 32, 200
FOLLOWERS, MOST_READS = 1_000, 15
LEASE, HEARTBEAT_SECONDS = timedelta(seconds=20), 5.0
PATH, TEXT = "/1024x1024.jpg", "writes"
# A session of Postgres reports what it wrote at the latest ten seconds after its last statement.
REPORTED_SECONDS = 12.5
# One that ends reports at once.
ENDED_SECONDS = 1.0
WRITES = (
    "select sum(n_tup_ins + n_tup_upd + n_tup_del)::float8 from pg_stat_user_tables "
    "where schemaname in ('public', 'copperplate')"
)


def measure(run: Run) -> list[Figure]:
    """Row writes per 10,000 hits on one key; ledger reads of 1,000 followers during one generation."""
    return [_measure_writes(run), asyncio.run(_measure_reads(run))]


def _measure_writes(run: Run) -> Figure:
    data = run.folder / "dev"
    with dev(data, workers=1) as server:
        database_url = url_of(data)
        body = asyncio.run(put_picture(data, database_url, request_of(PATH, TEXT), 102_400))
        time.sleep(ENDED_SECONDS)
        before = query(database_url, WRITES)[0][0]
        began = time.monotonic()
        said = ask(f"{server.address}{PATH}?text={TEXT}", connections=CONNECTIONS, count=HITS)
        seconds = time.monotonic() - began
        if said["statuses"] != {"200": HITS} or said["digests"] != {sha256(body).hexdigest(): HITS}:
            raise RuntimeError(f"not every hit was the picture: {said['statuses']}, {len(said['digests'])} bodies")
        run.say(f"{HITS:,} hits in {seconds:.1f} s; waiting for Postgres to report")
        time.sleep(REPORTED_SECONDS)
        after = query(database_url, WRITES)[0][0]
    return Figure(
        what=f"rows written by {HITS:,} hits on one key",
        value=after - before,
        unit="rows",
        how=f"Writes: one server process, {CONNECTIONS} connections, {seconds:.1f} s; inserts, updates and deletes in "
        "pg_stat_user_tables over both schemas. Counts are flushed every two seconds, so slower hits write more each.",
        at_most=MOST_WRITES,
    )


class CountingTransport(PostgresTransport):
    """Counts the statements it sends."""

    sent = 0

    async def _rows(self, *arguments: Any, **options: Any) -> Any:
        self.sent += 1
        return await super()._rows(*arguments, **options)


async def _measure_reads(run: Run) -> Figure:
    seconds = run.pick(12, 3)
    with cluster(run) as started:
        counting = CountingTransport(started.owner_url)
        leading, following = PostgresLedger(started.owner_url), SqlLedger(counting)
        images = PillowImages()
        # The followers never lead: provider and store are only named.
        clock = SystemClock()
        kinds = {"image": Kind(provider=Painter(clock), store=MemoryStore("generated-images"))}
        coordinator = Coordinator(ledger=following, kinds=kinds, images=images, clock=clock)
        await leading.open()
        await following.open()
        picture_request = request_of(PATH, TEXT)
        lead = await leading.acquire(picture_request, leader=uuid4(), lease_duration=LEASE)
        assert isinstance(lead, Lead)
        waiting = [asyncio.create_task(coordinator.find(picture_request, GENERATE)) for _ in range(FOLLOWERS)]
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(left, HEARTBEAT_SECONDS))
            await leading.heartbeat(picture_request.generation_key, lead.fence, LEASE)
        await complete(leading, picture_request, lead, make_upload(picture_request))
        found = await asyncio.gather(*waiting)
        assert all(each.outcome in (Outcome.COALESCED, Outcome.HIT) for each in found)
        reads = counting.sent
        await following.close()
        await leading.close()
    return Figure(
        what=f"ledger calls of {FOLLOWERS:,} followers in one process",
        value=reads,
        unit="calls",
        how=f"Reads: another process leads for {seconds} s and sends heartbeats; every statement the followers' ledger "
        "sends is counted.",
        at_most=MOST_READS,
    )
