"""How soon do waiting callers in another process have the picture, once it is complete?"""

from __future__ import annotations

import threading
import time
from typing import Any

from bench.callers import ask
from bench.databases import cluster, query, want_of
from bench.figures import Figure, Run, median_figure, percentile
from bench.processes import serve

FOLLOWERS = 500
HEAD_START_SECONDS = 0.3
PAINTER_SECONDS = "2"
WORST_P99_MS = 50
PICTURE = "/1024x1024.jpg"


def measure(run: Run) -> list[Figure]:
    """500 followers in one server process, the leader in another: from completion to each answer."""
    p50s, p99s, lone = [], [], []
    data = run.folder / "objects"
    painter = {"COPPERPLATE_PAINTER_SECONDS": PAINTER_SECONDS}
    with (
        cluster(run) as started,
        serve(data, started.owner_url, log="leader", **painter) as leader,
        serve(data, started.owner_url, log="followers", **painter) as followers,
    ):
        for number in range(run.pick(6, 2)):
            late = _delays(started.owner_url, leader, followers, f"followers-{number}", FOLLOWERS)
            p50s.append(percentile(late, 50))
            p99s.append(percentile(late, 99))
            lone += _delays(started.owner_url, leader, followers, f"alone-{number}", 1)
            run.say(
                f"round {number + 1}: p50 {p50s[-1]:.0f} ms, p99 {p99s[-1]:.0f} ms; a single follower {lone[-1]:.0f} ms"
            )
    how = (
        f"{FOLLOWERS} requests wait in one server process while another generates for {PAINTER_SECONDS} s. From "
        "`generation_status.completed_at` to the last byte of each answer: notification, look-up, encoding the "
        f"rendition, storing it, and writing {FOLLOWERS} bodies to callers on the same two cores."
    )
    return [
        median_figure(p50s, what=f"{FOLLOWERS} followers, p50", unit="ms", how=how),
        median_figure(p99s, what=f"{FOLLOWERS} followers, p99", unit="ms", how=how, at_most=WORST_P99_MS),
        median_figure(lone, what="a single follower", unit="ms", how=how),
    ]


def _delays(url: str, leader: str, followers: str, text: str, count: int) -> list[float]:
    """Milliseconds from completion to each follower's answer."""
    leading = threading.Thread(
        target=ask, args=(f"{leader}{PICTURE}?text={text}",), kwargs={"connections": 1, "count": 1}
    )
    leading.start()
    time.sleep(HEAD_START_SECONDS)
    said: dict[str, Any] = ask(f"{followers}{PICTURE}?text={text}", connections=count, count=count)
    leading.join()
    if said["errors"] or set(said["statuses"]) != {"200"} or len(said["digests"]) != 1:
        raise RuntimeError(f"the followers did not all get the picture: {said['errors']} errors, {said['statuses']}")
    key = want_of(PICTURE, text).generation_key
    statement = "select extract(epoch from completed_at)::float8 from public.generation_status where prompt_hash = %s"
    completed_at = query(url, statement, key)[0][0]
    return [(answered_at - completed_at) * 1000 for answered_at in said["answered_at"]]
