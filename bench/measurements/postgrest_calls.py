"""What asking the ledger costs through PostgREST, beside a trivial function, and over which transport."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import psycopg

from bench.harness.databases import cluster
from bench.harness.figures import Figure, Run, median_figure, ratios
from bench.measurements.acquire_and_peek import LEADER, RECIPE, fill

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.support.postgrest_server import PostgrestServer

ROWS = 1_000
AT_ONCE = 10  # as many as PostgREST has connections
LEAST = 0.8
TRIVIAL = """
create function public.bench_trivial(p_generation_key text, p_rendition_key text)
returns copperplate.acquire_result language plpgsql stable security invoker set search_path = ''
as $$
declare
    v copperplate.acquire_result;
begin
    v.outcome := 'hit';
    v.entry_key := p_rendition_key;
    v.generation_key := p_generation_key;
    v.path := p_generation_key;
    v.digest := p_generation_key;
    return v;
end;
$$;
grant execute on function public.bench_trivial(text, text) to service_role;
"""
# Everything else that the adapter needs is loaded in both cases.
IMPORTS = {
    "httpx's own": "import pydantic, httpx, postgrest",
    "aiohttp": "import pydantic, httpx, postgrest, httpx_aiohttp",
}


def measure(run: Run) -> list[Figure]:
    """`peek` and `acquire` through PostgREST as a ratio to a trivial function, and CPU per call by transport."""
    from tests.support.postgrest_server import PostgrestServer, find_binary

    with cluster(run, is_durable=False) as started:
        database_url = fill(started, ROWS, run)
        name = database_url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(TRIVIAL.encode())
        with PostgrestServer(find_binary(), started.url(role="authenticator", database=name)) as server:
            figures = _measure_functions(server, run) + asyncio.run(_measure_transports(server, run))
    return figures + _measure_imports(run)


# --- functions -----------------------------------------------------------------------------------


def _measure_functions(server: PostgrestServer, run: Run) -> list[Figure]:
    run.say("peek and acquire beside a trivial function")
    asked: dict[str, Callable[[int], tuple[str, dict[str, Any]]]] = {
        "trivial": lambda number: ("bench_trivial", _keys(number)),
        "peek": lambda number: ("peek_generation", _keys(number)),
        "acquire": lambda number: (
            "acquire_generation",
            {
                "p_recipe": json.loads(RECIPE),
                **_keys(number),
                "p_leader": LEADER.strip("'"),
                "p_lease": "20 s",
            },
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(run.pick(7, 3)):
        for name, make in asked.items():
            rates[name].append(asyncio.run(_rate(server, make, seconds=run.pick(3, 1))))
    how = (
        f"{AT_ONCE} connections of a bare client that only counts bytes, random completed keys of {ROWS:,} rows; the "
        "trivial function answers a row of the same type from its arguments. Turn by turn in each round."
    )
    figures = [
        median_figure(
            ratios(rates[name], rates["trivial"]),
            what=f"{name} to a trivial function",
            unit="ratio",
            how=how,
            at_least=LEAST,
        )
        for name in ("peek", "acquire")
    ]
    return [*figures, median_figure(rates["trivial"], what="the trivial function itself", unit="/s", how=how)]


def _keys(number: int) -> dict[str, str]:
    """The keys of row `number`, as bench/harness/fill.sql makes them."""
    generation, rendition = (sha256(f"{prefix}{number}".encode()).hexdigest() for prefix in ("", "jpg"))
    return {"p_generation_key": generation, "p_rendition_key": rendition}


async def _rate(server: PostgrestServer, make: Callable[[int], tuple[str, dict[str, Any]]], *, seconds: float) -> float:
    """Calls a second."""
    requests = [_request(*make(number)) for number in random.sample(range(1, ROWS // 2), 100)]
    end = time.monotonic() + seconds

    async def caller() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        done = 0
        while time.monotonic() < end:
            writer.write(random.choice(requests))
            body = await _read(reader)
            assert b'"outcome":"hit"' in body, body
            done += 1
        writer.close()
        return done

    began = time.monotonic()
    counts = await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return sum(counts) / (time.monotonic() - began)


def _request(function: str, arguments: dict[str, Any]) -> bytes:
    from tests.support.postgrest_server import make_jwt

    body = json.dumps(arguments).encode()
    head = (
        f"POST /rpc/{function} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {make_jwt()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"chunked" not in head:
        return await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
    return await reader.readuntil(b"\r\n0\r\n\r\n")


# --- transports ----------------------------------------------------------------------------------


async def _measure_transports(server: PostgrestServer, run: Run) -> list[Figure]:
    import httpx

    from copperplate.adapters.supabase.http import MAX_CONNECTIONS, make_client

    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    figures = []
    for at_once in (1, 20, 300):
        run.say(f"CPU of a call over either transport, {at_once} at once")
        spent: dict[str, list[float]] = {"httpx's own": [], "aiohttp": []}
        for _ in range(run.pick(7, 3)):
            spent["httpx's own"].append(await _cpu_ms(httpx.AsyncClient(limits=limits, timeout=30), server, at_once))
            spent["aiohttp"].append(await _cpu_ms(make_client(), server, at_once))
        figures += [
            median_figure(
                rounds,
                what=f"CPU of a peek over {name} transport, {at_once} at once",
                unit="ms",
                how="Of the calling process, in `PostgrestLedger.peek`, 600 calls a round, turn by turn.",
            )
            for name, rounds in spent.items()
        ]
    return figures


async def _cpu_ms(client: httpx.AsyncClient, server: PostgrestServer, at_once: int, *, calls: int = 600) -> float:
    from copperplate.adapters.ledger.postgrest import PostgrestLedger
    from copperplate.errors import LedgerUnavailable
    from tests.support.postgrest_server import make_jwt

    keys = _keys(1)
    async with client:
        ledger = PostgrestLedger(client, server.url, make_jwt())

        async def caller(times: int) -> None:
            for _ in range(times):
                try:
                    await ledger.peek(keys["p_generation_key"], keys["p_rendition_key"])
                except LedgerUnavailable:
                    continue  # too slow is what this is about

        await caller(20)
        before = time.process_time()
        await asyncio.gather(*(caller(calls // at_once) for _ in range(at_once)))
        return (time.process_time() - before) / calls * 1_000


def _measure_imports(run: Run) -> list[Figure]:
    run.say("CPU of the imports")
    spent: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(run.pick(9, 3)):
        for name, program in IMPORTS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", program], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            both = (after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)
            spent[name].append(sum(both) * 1_000)
    how = "A new interpreter that imports pydantic, httpx, postgrest and the transport; user and system time."
    return [
        median_figure(rounds, what=f"CPU of a start with {name} transport", unit="ms", how=how)
        for name, rounds in spent.items()
    ]
