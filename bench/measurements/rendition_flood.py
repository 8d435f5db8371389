"""Ten thousand different display parameters on one picture: what they keep, take, and cost other people's hits."""

from __future__ import annotations

import asyncio
import itertools
import time
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.harness import browsers
from bench.harness.callers import sustain
from bench.harness.databases import cluster, put_picture, query, request_of
from bench.harness.figures import Figure, ratios
from bench.harness.processes import SERVER_CORE, Server, pinned, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.harness.figures import Run

SETS: Final = 10_000
# As many as may wait for one picture, and twice as many.
CONNECTIONS: Final = (64, 128)
HIT_CONNECTIONS: Final = 32
HIT_PATH, HIT_TEXT = "/1024x1024.jpg", "stored"
FLOODED, CANVAS = "flooded", 512
WIDTHS: Final = (16, 32, 48, 64, 96, 128, 256, 384, 512)
FORMS: Final = ("jpg", "webp", "avif", "png")
QUALITIES: Final = (40, 60, 75, 85, 95)


def measure(run: Run) -> list[Figure]:
    """Kept renditions and processor time of 10,000 parameter sets on one picture; hits of others beside them."""
    with pinned(SERVER_CORE), cluster(run) as started:
        url = started.owner_url
        with serve(run.folder, url, log="server") as server:
            asyncio.run(put_picture(run.folder, url, request_of(HIT_PATH, HIT_TEXT), 102_400))
            paths = sets()
            # One painted original, kept.
            _flood(server, [f"/{CANVAS}x{CANVAS}.jpg?text={FLOODED}"], connections=1)
            return [
                *_measure_hits(run, server, paths),
                *_measure_all(run, server, url, list(itertools.islice(paths, run.pick(SETS, 300)))),
            ]


def _flood(server: Server, paths: Sequence[str], *, connections: int) -> dict[str, Any]:
    return browsers.seen_by(browsers.start(server.address, [paths], connections=connections))


def _measure_all(run: Run, server: Server, url: str, paths: list[str]) -> list[Figure]:
    used = server.processor_seconds()
    said = _flood(server, paths, connections=CONNECTIONS[0])
    used = server.processor_seconds() - used
    kept = query(
        url,
        "select count(*)::float8 from copperplate.cache_entries as e inner join public.generation_status as g"
        " on e.generation_key = g.prompt_hash where g.prompt = %s and not e.is_original",
        FLOODED,
    )[0][0]
    others = sum(count for status, count in said["statuses"].items() if status != "200")
    run.say(f"{said}")
    how = (
        f"{len(paths):,} different w, h, q and format on one kept picture of {CANVAS} x {CANVAS}, {CONNECTIONS[0]} "
        f"connections, {said['seconds']:.0f} s, p99 {said['p99_ms']:.0f} ms; one server process with one thread for "
        "what is not urgent, and Postgres, on one core, the load on the other."
    )
    return [
        Figure(what="kept renditions", value=kept, unit="", how=how, at_most=64),
        Figure(what="answers that were no picture", value=others, unit=f"of {len(paths):,}", how=how),
        Figure(what="parameter sets a second", value=len(paths) / said["seconds"], unit="/s", how=how),
        Figure(what="processor time of one, server alone", value=used / len(paths) * 1_000, unit="ms", how=how),
        # One core is what there is; the figure would exceed it if the room were not bounded.
        Figure(what="cores that the server took", value=used / said["seconds"], unit="", how=how, at_most=1.0),
    ]


def _measure_hits(run: Run, server: Server, paths: Iterator[str]) -> list[Figure]:
    rounds, seconds = run.pick(5, 2), run.pick(6, 2)
    target = f"{server.address}{HIT_PATH}?text={HIT_TEXT}"
    alone: list[float] = []
    beside: dict[int, list[float]] = {each: [] for each in CONNECTIONS}
    sustain(target, connections=HIT_CONNECTIONS, seconds=1)
    for _ in range(rounds):
        alone.append(sustain(target, connections=HIT_CONNECTIONS, seconds=seconds).per_second)
        for connections in CONNECTIONS:
            # So many that the flood outlasts the hits.
            flood = browsers.start(server.address, [list(itertools.islice(paths, 100_000))], connections=connections)
            time.sleep(1)
            beside[connections].append(sustain(target, connections=HIT_CONNECTIONS, seconds=seconds).per_second)
            flood.terminate()
            flood.communicate()
            time.sleep(1)
        run.say(f"hits alone {alone[-1]:,.0f}/s, " + ", ".join(f"{n}: {each[-1]:,.0f}/s" for n, each in beside.items()))
    how = (
        f"{HIT_CONNECTIONS} connections on another picture of 100 KB ({median(alone):,.0f} a second alone), beside "
        f"connections that ask for new forms of one picture in a closed loop: {CONNECTIONS[0]} may wait for one "
        "picture, who comes beyond is answered 503 at once. One server process and Postgres on one core, "
        "all load on the other."
    )
    return [
        Figure(
            what=f"hits beside {connections} connections that ask for new forms, to hits alone",
            value=median(ratios(seen, alone)),
            unit="",
            how=how,
            rounds=ratios(seen, alone),
            at_least=0.8 if connections == CONNECTIONS[0] else None,
        )
        for connections, seen in beside.items()
    ]


def sets() -> Iterator[str]:
    """Paths that differ, most of them in the bytes that they ask for."""
    heights = itertools.count(16)
    for quality, width, form in itertools.cycle(itertools.product(QUALITIES, WIDTHS, FORMS)):
        yield f"/{CANVAS}x{CANVAS}.{form}?text={FLOODED}&w={width}&h={next(heights) % 1_000 + 1}&q={quality}"
