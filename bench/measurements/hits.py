"""What a hit costs, beside servers that do nothing else."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.harness.callers import tool
from bench.harness.databases import put_picture, request_of, url_of
from bench.harness.interleaved import CONNECTIONS, compare, describe, interleave
from bench.harness.processes import SERVER_CORE, asgi, dev, free_port, pinned, uvicorn

if TYPE_CHECKING:
    from bench.harness.figures import Figure, Run

SIZES = {"100 KB": 102_400, "1.5 MB": 1_572_864}
PATH, TEXT = "/1024x1024.jpg", "bench"
OURS = "copperplate"
BASELINES = {"raw ASGI": "raw_app", "bare FastAPI route": "fastapi_app"}


def measure(run: Run) -> list[Figure]:
    """Hits per second and latency for 100 KB and 1.5 MB, as a ratio to raw ASGI and to a bare FastAPI route."""
    return [figure for label, size in SIZES.items() for figure in _measure_size(run, label, size)]


def _measure_size(run: Run, label: str, size: int) -> list[Figure]:
    data, body = run.folder / f"dev-{size}", run.folder / f"{size}.body"
    with ExitStack() as stack:
        with pinned(SERVER_CORE):
            servers = {OURS: stack.enter_context(dev(data, workers=1))}
            body.write_bytes(asyncio.run(put_picture(data, url_of(data), request_of(PATH, TEXT), size)))
            for name, app in BASELINES.items():
                port = free_port()
                started = asgi(uvicorn(app, port), run.folder, body, port=port, log=f"{app}-{size}")
                servers[name] = stack.enter_context(started)
        target = f"{PATH}?text={TEXT}"
        seen = interleave(run, label, servers, target, body.read_bytes(), rounds=run.pick(4, 1), seconds=run.pick(3, 1))
    how = (
        f"The servers on one core, our Postgres included, {tool()} with {CONNECTIONS} connections on the other; one "
        "worker each of uvicorn (httptools, uvloop); real store and database; in turns."
    )
    figures = [
        figure for name in BASELINES for figure in compare(f"{label}, hits to {name}", seen[OURS], seen[name], how)
    ]
    return figures + [figure for name in servers for figure in describe(f"{label}, {name}", seen[name], how)]
