"""What a hit costs, beside servers that do nothing else."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from bench.callers import Rate, sustain, tool
from bench.databases import put_picture, url_of, want_of
from bench.figures import Figure, Run, median_figure, ratios
from bench.processes import SERVER_CORE, asgi, dev, free_port, pinned, uvicorn

SIZES = {"100 KB": 102_400, "1.5 MB": 1_572_864}
CONNECTIONS = 32
PATH, TEXT = "/1024x1024.jpg", "bench"
HOW = (
    "The server on one core, its Postgres included, {tool} with {connections} connections on the other; one worker "
    "each of uvicorn (httptools, uvloop); real store and database; in turns. Ratios of requests per second."
)


def measure(run: Run) -> list[Figure]:
    """Hits per second and latency for 100 KB and 1.5 MB, as a ratio to raw ASGI and to a bare FastAPI route."""
    return [figure for label, size in SIZES.items() for figure in _measure_size(run, label, size)]


def _measure_size(run: Run, label: str, size: int) -> list[Figure]:
    name = label.replace(" ", "-")
    with ExitStack() as stack:
        with pinned(SERVER_CORE):
            data = run.folder / f"dev-{name}"
            ours = stack.enter_context(dev(data, workers=1))
            body = run.folder / f"{name}.body"
            body.write_bytes(asyncio.run(put_picture(data, url_of(data), want_of(PATH, TEXT), size)))
            addresses = {"copperplate": ours}
            for app in ("raw_app", "fastapi_app"):
                port = free_port()
                started = asgi(uvicorn(app, port), run.folder, body, port=port, log=f"{app}-{name}")
                addresses[app] = stack.enter_context(started)
        rates: dict[str, list[Rate]] = {server: [] for server in addresses}
        for number in range(run.pick(4, 2)):
            for server, address in addresses.items():
                url = f"{address}{PATH}?text={TEXT}"
                rates[server].append(sustain(url, connections=CONNECTIONS, seconds=run.pick(3, 1)))
            run.say(
                f"{label}, round {number + 1}: " + ", ".join(f"{s} {r[-1].per_second:,.0f}/s" for s, r in rates.items())
            )
    return _figures(label, rates)


def _figures(label: str, rates: dict[str, list[Rate]]) -> list[Figure]:
    how = HOW.format(tool=tool(), connections=CONNECTIONS)
    per_second = {server: [rate.per_second for rate in seen] for server, seen in rates.items()}
    ours = rates["copperplate"]
    return [
        median_figure(
            ratios(per_second["copperplate"], per_second["raw_app"]),
            what=f"{label}, to raw ASGI",
            unit="ratio",
            how=how,
        ),
        median_figure(
            ratios(per_second["copperplate"], per_second["fastapi_app"]),
            what=f"{label}, to a bare FastAPI route",
            unit="ratio",
            how=how,
        ),
        median_figure(per_second["copperplate"], what=f"{label}, hits", unit="/s", how=how),
        median_figure([rate.p50_ms for rate in ours], what=f"{label}, p50", unit="ms", how=how),
        median_figure([rate.p99_ms for rate in ours], what=f"{label}, p99", unit="ms", how=how),
        median_figure(per_second["raw_app"], what=f"{label}, raw ASGI", unit="/s", how=how),
        median_figure([rate.p99_ms for rate in rates["raw_app"]], what=f"{label}, raw ASGI, p99", unit="ms", how=how),
        median_figure(per_second["fastapi_app"], what=f"{label}, bare FastAPI route", unit="/s", how=how),
    ]
