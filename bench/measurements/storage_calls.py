"""What a put and a get cost this process, over httpx's own transport and over aiohttp's."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
from httpx_aiohttp import AiohttpTransport

from bench.harness.figures import Figure, median_figure, ratios
from bench.harness.processes import LOAD_CORE, SERVER_CORE, asgi, free_port, pinned, uvicorn
from copperplate.adapters.supabase.storage import SupabaseStore

if TYPE_CHECKING:
    from bench.harness.figures import Run

SIZES = {"100 KB": 102_400, "1.5 MB": 1_572_864}
PATH = f"2026/11/{'a' * 64}.png"
OWN, OTHER = "httpx's own transport", "aiohttp's"
# Each imports all of storage3's client, as a process that stores does; one of them aiohttp too.
IMPORTS = {OWN: "import httpx, storage3", OTHER: "import httpx, storage3, httpx_aiohttp"}


def measure(run: Run) -> list[Figure]:
    """Processor time of a put and a get in Supabase Storage, over httpx's own transport and over aiohttp's."""
    figures = [figure for label, size in SIZES.items() for figure in _measure_size(run, label, size)]
    return figures + _measure_imports(run)


def _measure_size(run: Run, label: str, size: int) -> list[Figure]:
    body = run.folder / f"{size}.body"
    body.write_bytes(os.urandom(size))
    with ExitStack() as stack:
        port = free_port()
        with pinned(SERVER_CORE):
            command = uvicorn("storage_app", port)
            server = stack.enter_context(asgi(command, run.folder, body, port=port, log=f"storage-{size}"))
        stack.enter_context(pinned(LOAD_CORE))
        rounds, calls = run.pick(9, 3), run.pick(100, 30)
        seen = asyncio.run(_take_turns(run, label, server.address, body.read_bytes(), rounds, calls))
    how = (
        "SupabaseStore, one call after the other over one kept connection, to the least of an ASGI server on the "
        "other core; processor time of this process alone; in turns."
    )
    figures = []
    for act in ("put", "get"):
        own, other = seen[OWN][act], seen[OTHER][act]
        what = f"{label}, {act}"
        ratio = median_figure(ratios(own, other), what=f"{what}, {OWN} to {OTHER}", unit="ratio", how=how)
        each = [
            median_figure(rounds_, what=f"{what}, {name}", unit="ms", how=how)
            for name, rounds_ in ((OWN, own), (OTHER, other))
        ]
        figures += [ratio, *each]
    return figures


async def _take_turns(
    run: Run, label: str, address: str, body: bytes, rounds: int, calls: int
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of processor time per call, round by round."""
    seen: dict[str, dict[str, list[float]]] = {name: {"put": [], "get": []} for name in (OWN, OTHER)}
    async with httpx.AsyncClient() as own, httpx.AsyncClient(transport=AiohttpTransport()) as other:
        stores = {
            name: SupabaseStore(client, address, "sb_secret_bench", "generated-images")
            for name, client in ((OWN, own), (OTHER, other))
        }
        for store in stores.values():
            await store.put(PATH, body, media_type="image/png")
            if await store.get(PATH) != body:
                raise RuntimeError("the server answers other bytes than it was given")
        for number in range(rounds):
            for name, store in stores.items():
                seen[name]["put"].append(await _cost(calls, lambda s=store: s.put(PATH, body, media_type="image/png")))
                seen[name]["get"].append(await _cost(calls, lambda s=store: s.get(PATH)))
            run.say(f"{label}, round {number + 1} of {rounds}")
    return seen


async def _cost(calls: int, call: Any) -> float:
    began = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - began) / calls * 1_000


def _measure_imports(run: Run) -> list[Figure]:
    """What the transport adds to a cold start."""
    rounds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(run.pick(9, 3)):
        for name, statement in IMPORTS.items():
            code = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
            answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            rounds[name].append(float(answer.stdout) * 1_000)
    how = "Processor time of the import statements in a fresh process, byte code at hand; in turns."
    added = [other - own for own, other in zip(rounds[OWN], rounds[OTHER], strict=True)]
    return [
        Figure(
            what="import, what aiohttp's transport adds",
            value=statistics.median(added),
            unit="ms",
            how=how,
            rounds=added,
        ),
        median_figure(rounds[OWN], what=f"import of httpx and storage3, {OWN}", unit="ms", how=how),
    ]
