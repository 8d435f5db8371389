"""Two servers behind PgBouncer in transaction mode, on a port that no convention names: is everybody answered?"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bench.harness.databases import cluster, query
from bench.harness.figures import Figure, Run
from bench.harness.processes import serve

SERVERS, PICTURES, TIMES, AT_ONCE = 2, 20, 16, 40
SESSIONS = 4
HOW = (
    f"{PICTURES * TIMES} requests of {PICTURES} new pictures, {AT_ONCE} at a time over {SERVERS} servers, behind a "
    f"real PgBouncer in transaction mode that lends {SESSIONS} sessions in turn; the painter, 64 px."
)


def measure(run: Run) -> list[Figure]:
    """320 requests of 20 pictures over two servers behind PgBouncer in transaction mode: none refused."""
    # The harness of the tests starts it.
    from tests.support.pgbouncer_server import start_pgbouncer

    refused, submits = [], []
    for number in range(run.pick(3, 1)):
        with cluster(run) as started, start_pgbouncer(started, pool_size=SESSIONS) as pgbouncer:
            statuses = _ask(run, pgbouncer.url("postgres"), f"behind-{number}")
            refused.append(float(sum(count for status, count in statuses.items() if status != 200)))
            submits.append(float(query(started.owner_url, "select count(*) from copperplate.submits")[0][0]))
        run.say(f"round {number + 1}: {dict(statuses)}")
    return [
        Figure(what="answers that are not 200", value=max(refused), unit="", how=HOW, rounds=refused, exactly=0),
        Figure(what="submits", value=max(submits), unit="", how=HOW, rounds=submits, exactly=PICTURES),
    ]


def _ask(run: Run, database_url: str, log: str) -> Counter[int]:
    folder = run.folder / log
    folder.mkdir()
    with serve(folder, database_url, log="one") as one, serve(folder, database_url, log="two") as two:
        paths = [f"/64x64.png?text=picture%20{number}" for _ in range(TIMES) for number in range(PICTURES)]
        addresses = [(one, two)[number // PICTURES % SERVERS].address + path for number, path in enumerate(paths)]
        with ThreadPoolExecutor(AT_ONCE) as callers:
            return Counter(callers.map(_status, addresses))


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
