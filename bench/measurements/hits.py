"""What a hit in memory costs, beside servers that do nothing else."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.harness import peers
from bench.harness.callers import tool
from bench.harness.databases import put_picture, request_of, url_of
from bench.harness.interleaved import CONNECTIONS, compare, describe, interleave, latency
from bench.harness.processes import SERVER_CORE, dev, pinned, serve

if TYPE_CHECKING:
    from pathlib import Path

    from bench.harness.figures import Figure, Run
    from bench.harness.interleaved import Seen
    from bench.harness.processes import Server

SIZES = {"100 KB": 102_400, "1.5 MB": 1_572_864}
PATH, TEXT = "/1024x1024.jpg", "bench"
TARGET = f"{PATH}?text={TEXT}"
OURS, VERBOSE = "copperplate", "copperplate --verbose"
CALLABLE, FASTAPI, NGINX, VARNISH, THUMBOR = "raw ASGI", "bare FastAPI route", "nginx", "Varnish", "thumbor"
# What is promised of requests per second, as ratios to the others.
AT_LEAST = {("100 KB", CALLABLE): 0.9, ("100 KB", NGINX): 0.45, ("1.5 MB", NGINX): 0.85}
AT_LEAST_304, AT_MOST_LATENCY = 0.9, 1.3


def measure(run: Run) -> list[Figure]:
    """Hits in memory per second and their latency, beside raw ASGI, FastAPI, nginx, Varnish and thumbor."""
    installed = peers.install(run, "thumbor", ["thumbor"])
    return [figure for label, size in SIZES.items() for figure in _measure_size(run, label, size, installed)]


def _measure_size(run: Run, label: str, size: int, thumbor: Path | None) -> list[Figure]:
    with ExitStack() as stack, pinned(SERVER_CORE):
        servers, unmodified, body = _start(run, stack, size, thumbor)
        how = _how(servers)
        rounds, seconds = run.pick(5, 1), run.pick(3, 1)
        content = body.read_bytes()
        many = interleave(run, label, servers, TARGET, content, rounds=rounds, seconds=seconds)
        one = interleave(
            run, f"{label}, alone", servers, TARGET, content, rounds=rounds, seconds=seconds, connections=1
        )
        figures = _compared(label, many, one, how)
        if size == SIZES["100 KB"]:
            held = {name: peers.etag_of(server.address + TARGET) for name, server in servers.items()}
            held[CALLABLE] = held[OURS]
            asked = {name: unmodified.get(name, servers[name]) for name in servers if name not in (FASTAPI, THUMBOR)}
            seen = interleave(run, "304", asked, TARGET, content, rounds=rounds, seconds=seconds, held=held)
            figures += _compared_304(seen, how)
    return figures


def _start(
    run: Run, stack: ExitStack, size: int, thumbor: Path | None
) -> tuple[dict[str, Server], dict[str, Server], Path]:
    """All servers, those that answer 304 alone, and the file with the picture."""
    data, body, folder = run.folder / f"dev-{size}", run.folder / f"{size}.body", run.folder / f"peers-{size}"
    folder.mkdir()
    servers = {OURS: stack.enter_context(dev(data, workers=1))}
    body.write_bytes(asyncio.run(put_picture(data, url_of(data), request_of(PATH, TEXT), size)))
    verbose = serve(data, url_of(data), log="verbose", options=["--verbose"])
    servers[VERBOSE] = stack.enter_context(verbose)
    peers.headers_of(servers[OURS].address + TARGET)  # the next one is a hit in memory
    headers = peers.headers_of(servers[OURS].address + TARGET)
    servers[CALLABLE] = stack.enter_context(peers.raw(folder, body, headers, log="raw"))
    servers[FASTAPI] = stack.enter_context(peers.raw(folder, body, headers, log="fastapi", app="fastapi_app"))
    unmodified = {CALLABLE: stack.enter_context(peers.raw(folder, body, headers, log="raw-304", status=304))}
    for name, command in ((NGINX, "nginx"), (VARNISH, "varnishd")):
        if not peers.is_installed(command) or NGINX not in (name, *servers):
            run.say(f"{name}: NOT RUN: it is not installed")
        elif name == NGINX:
            servers[name] = stack.enter_context(peers.nginx(folder / "nginx", PATH, body, headers))
        else:
            servers[name] = stack.enter_context(peers.varnish(folder / "varnish", servers[NGINX]))
    if thumbor is not None:
        servers[THUMBOR] = stack.enter_context(peers.thumbor(thumbor, folder / "thumbor", PATH, body))
    return servers, unmodified, body


def _how(servers: dict[str, Server]) -> str:
    missing = [name for name in (NGINX, VARNISH, THUMBOR) if name not in servers]
    return (
        f"The servers on one core, our Postgres included, {tool()} with {CONNECTIONS} connections on the other, in "
        "turns. All send the same bytes with the headers that ours sends; nginx has a validator of its own, Varnish "
        "(in front of that nginx) adds its own headers, thumbor (results on disk) sends its own alone. One worker each "
        "of uvicorn (httptools, uvloop) and nginx (no access log). Ours with its log, its counts and a real database; "
        "the picture is in memory."
    ) + "".join(f" {name}: NOT RUN." for name in missing)


def _compared(label: str, many: dict[str, Seen], one: dict[str, Seen], how: str) -> list[Figure]:
    others = [name for name in many if name not in (OURS, VERBOSE)]
    figures = []
    for name in others:
        aim = AT_LEAST.get((label, name))
        figures += compare(f"{label}, hits to {name}", many[OURS], many[name], how, at_least=aim)
    figures += compare(f"{label}, hits with --verbose to {CALLABLE}", many[VERBOSE], many[CALLABLE], how)[:2]
    for name in others:
        aim = AT_MOST_LATENCY if (label, name) == ("100 KB", CALLABLE) else None
        what = f"{label}, one connection, latency to {name}"
        figures.append(latency(what, one[OURS], one[name], how, at_most=aim))
    for name, seen in many.items():
        figures += describe(f"{label}, {name}", seen, how)
        figures += describe(f"{label}, one connection, {name}", one[name], how)[2:]
    return figures


def _compared_304(seen: dict[str, Seen], how: str) -> list[Figure]:
    figures = compare(f"304, hits to {CALLABLE}", seen[OURS], seen[CALLABLE], how, at_least=AT_LEAST_304)
    for name in (name for name in seen if name not in (OURS, VERBOSE, CALLABLE)):
        figures += compare(f"304, hits to {name}", seen[OURS], seen[name], how)[:2]
    return figures + [figure for name in seen for figure in describe(f"304, {name}", seen[name], how)]
