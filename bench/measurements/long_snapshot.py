"""What hits and leads cost while an old snapshot keeps every replaced row alive."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import psycopg

from bench.harness.databases import cluster
from bench.harness.figures import Figure, Run, median_figure, ratios
from bench.harness.pgbench import Statement, describe, per_second
from bench.measurements.acquire_and_peek import JPG_KEY, KEY, LEADER, STATEMENTS, fill
from copperplate.model import LATENCY_BOUNDS_MS, Outcome, RequestCount

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 1_000
LEAST = 0.8
# A process sends the counts of some requests together.
HITS_PER_COUNT = 20

_use = RequestCount(
    generation_key="",
    rendition_key="",
    format="jpg",
    kind="image",
    provider="painter",
    model="copperplate/painter-1",
    outcome=Outcome.HIT,
    tier="storage",
    count=HITS_PER_COUNT,
    size_bytes=100_000,
    latency_buckets=(HITS_PER_COUNT, *(0 for _ in LATENCY_BOUNDS_MS)),
)
COUNT = (
    f"select case when :n::integer % {HITS_PER_COUNT} = 0 then public.record_usage(jsonb_build_array("
    f"'{json.dumps(asdict(_use))}'::jsonb || jsonb_build_object('generation_key', {KEY}, 'rendition_key', {JPG_KEY})), "
    "gen_random_uuid()) end"
)
RECIPE = (
    """'{"v": 1, "kind": "image", "width": 1024, "height": 1024, "model": "copperplate/painter-1", "seed": "", """
    """"settings": []}'::jsonb || jsonb_build_object('prompt', 'led ' || :n::text)"""
)
LEAD = (
    "with led as materialized (select v.fence, public.cache_key(r.recipe) as key "
    f"from (select {RECIPE} as recipe) as r, lateral public.acquire_generation("
    f"r.recipe, public.cache_key(r.recipe), {JPG_KEY}, {LEADER}, '20 s') as v) "
    "select public.begin_submit(key, fence, 1, 'painter'), public.heartbeat_generation(key, fence, '20 s') from led"
)


def measure(run: Run) -> list[Figure]:
    """Hits with their counts, and leads, beside a transaction whose snapshot is a minute old in the end."""
    with cluster(run, is_durable=False) as started:
        url = fill(started, ROWS, run)
        statements = [
            Statement(name="hits", sql=f"{STATEMENTS['acquire']};\n{COUNT}", first=1, last=ROWS // 2),
            Statement(name="leads", sql=LEAD, first=1, last=1_000_000_000),
        ]
        rounds, seconds = run.pick(6, 1), run.pick(5, 2)
        run.say("without an old snapshot")
        without = per_second(statements, url, run.folder, rounds=rounds, seconds=seconds)
        run.say("beside one")
        with snapshot(url):
            beside = per_second(statements, url, run.folder, rounds=rounds, seconds=seconds)
    held = rounds * seconds * len(statements)
    how = (
        f"{describe()}; {ROWS // 2} hot keys, every {HITS_PER_COUNT}th hit sends counts, a lead is acquire, "
        f"begin_submit and a heartbeat; the same rounds before, and while a repeatable-read transaction is open for "
        f"{held} s."
    )
    return [
        median_figure(
            ratios(beside[name], without[name]),
            what=f"{name} beside an old snapshot to without",
            unit="ratio",
            how=how,
            at_least=LEAST,
        )
        for name in ("hits", "leads")
    ]


@contextlib.contextmanager
def snapshot(url: str) -> Iterator[None]:
    """An open transaction that sees the database as it is now."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select count(*) from public.generation_status")
        yield
