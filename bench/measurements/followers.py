"""How soon do waiting callers in another process have the picture, once it is complete?"""

from __future__ import annotations

import threading
import time
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bench.harness.callers import ask
from bench.harness.databases import cluster, query, request_of
from bench.harness.figures import Figure, Run, median_figure, percentile, ratios
from bench.harness.processes import asgi, free_port, serve, uvicorn

if TYPE_CHECKING:
    from pathlib import Path

FOLLOWERS = 500
HEAD_START_SECONDS = 0.3
PAINTER_SECONDS = "2"
WORST_P99_MS = 50
PICTURE = "/1024x1024.jpg"
AT_MOST_OF_FLOOR = 1.3
COMPLETED_AT = "select extract(epoch from completed_at)::float8 from public.generation_status where prompt_hash = %s"


def measure(run: Run) -> list[Figure]:
    """500 followers in one server process, the leader in another: from completion to each answer."""
    many: list[list[float]] = []
    lone: list[list[float]] = []
    floor: list[list[float]] = []
    data, body, opened_at = run.folder / "objects", run.folder / "body", run.folder / "opened-at"
    painter = {"COPPERPLATE_PAINTER_SECONDS": PAINTER_SECONDS}
    gate = {"BENCH_CALLERS": str(FOLLOWERS), "BENCH_OPENED_AT": str(opened_at)}
    port = free_port()
    with (
        cluster(run) as started,
        serve(data, started.owner_url, log="leader", **painter) as leader,
        serve(data, started.owner_url, log="followers", **painter) as followers,
        ExitStack() as stack,
    ):
        with urllib.request.urlopen(f"{leader.address}{PICTURE}?text=floor") as picture:
            body.write_bytes(picture.read())
        started_gate = asgi(uvicorn("gate_app", port), run.folder, body, port=port, log="gate", **gate)
        gated = stack.enter_context(started_gate)
        for number in range(run.pick(6, 1)):
            many.append(_follow(started.owner_url, leader.address, followers.address, f"many-{number}", FOLLOWERS))
            lone.append(_follow(started.owner_url, leader.address, followers.address, f"one-{number}", 1))
            floor.append(_pass_gate(gated.address, opened_at))
            p99s = [percentile(each[-1], 99) for each in (many, lone, floor)]
            run.say("round {}: p99 {:.0f} ms; one follower {:.0f} ms; the floor {:.0f} ms".format(number + 1, *p99s))
    return _figures(many, lone, floor, body.stat().st_size)


def _figures(
    many: list[list[float]], lone: list[list[float]], floor: list[list[float]], floor_bytes: int
) -> list[Figure]:
    how = (
        f"{FOLLOWERS} requests wait in one server process while another generates for {PAINTER_SECONDS} s; from "
        "`generation_status.completed_at` to the last byte of each answer. On the way: the commit, notification, one "
        f"look-up, one read of the rendition, and writing {FOLLOWERS} bodies. Servers, Postgres and callers share two "
        "cores."
    )
    floor_how = (
        f"The floor: a raw ASGI callable holds {FOLLOWERS} requests back, then answers {floor_bytes:,} bytes, such a "
        "picture, to each."
    )
    p99s, floor_p99s = [percentile(each, 99) for each in many], [percentile(each, 99) for each in floor]
    return [
        median_figure([percentile(each, 50) for each in many], what=f"{FOLLOWERS} followers, p50", unit="ms", how=how),
        median_figure(p99s, what=f"{FOLLOWERS} followers, p99", unit="ms", how=how, at_most=WORST_P99_MS),
        median_figure([each[0] for each in lone], what="a single follower", unit="ms", how=how),
        median_figure([percentile(each, 50) for each in floor], what="the floor, p50", unit="ms", how=floor_how),
        median_figure(floor_p99s, what="the floor, p99", unit="ms", how=floor_how),
        median_figure(
            ratios(p99s, floor_p99s), what="p99 to the floor's", unit="ratio", how=floor_how, at_most=AT_MOST_OF_FLOOR
        ),
    ]


def _follow(url: str, leader: str, followers: str, text: str, count: int) -> list[float]:
    """Milliseconds from completion to each follower's answer."""
    target = f"{PICTURE}?text={text}"
    leading = threading.Thread(target=ask, args=(leader + target,), kwargs={"connections": 1, "count": 1})
    leading.start()
    time.sleep(HEAD_START_SECONDS)
    said = _ask(followers + target, count)
    leading.join()
    completed_at = query(url, COMPLETED_AT, request_of(PICTURE, text).generation_key)[0][0]
    return [(answered_at - completed_at) * 1000 for answered_at in said["answered_at"]]


def _pass_gate(gated: str, opened_at: Path) -> list[float]:
    said = _ask(gated + PICTURE, FOLLOWERS)
    opened = float(opened_at.read_text())
    return [(answered_at - opened) * 1000 for answered_at in said["answered_at"]]


def _ask(url: str, count: int) -> dict[str, Any]:
    said = ask(url, connections=count, count=count)
    if said["statuses"] != {"200": count} or len(said["digests"]) != 1:
        raise RuntimeError(f"not all got the picture: {said['errors']} errors, {said['statuses']}")
    return said
