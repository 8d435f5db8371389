"""Purges over four server processes: how long the old bytes are still answered."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING

from bench.harness.figures import Figure
from bench.harness.floods import SCALED, serving
from bench.harness.purge_trials import FROZEN_SECONDS, Purger, Trial, frozen

if TYPE_CHECKING:
    from bench.harness.figures import Run
    from bench.harness.floods import Deadly

SERVERS = 4
PROMISED_SECONDS = 3.0
HOW = (
    f"{SERVERS} processes of `copperplate serve` over one Postgres, one disk and one Valkey; every picture is asked of "
    "each of them again and again, and generated anew after its purge. Once three have it, it is deleted with SQL, "
    "purged, or taken down. From when the purge was sent to the last answer with the old bytes."
)


def measure(run: Run) -> list[Figure]:
    """The worst and the median of 200 purges, with traffic and while processes stand still now and then."""
    from bench.harness.databases import cluster
    from tests.standin.server import serve
    from tests.support.valkey_server import run_valkey

    count = run.pick(200, 20)
    with cluster(run) as database, serve() as standin, run_valkey() as valkey:
        url = database.url()
        settings = {
            "FAL_KEY": "stand-in",
            "COPPERPLATE_FAL_QUEUE_URL": standin.url,
            "COPPERPLATE_DAILY_BUDGET_USD": "off",
            "REDIS_URL": valkey.url,
            "COPPERPLATE_DISK_CACHE_DIR": str(run.folder / "copies"),
            **SCALED,
        }
        with serving(run.folder / "servers", url, [""] * SERVERS, **settings) as (_, servers):
            calm = _purge(servers, url, count, freezes=False)
            rough = _purge(servers, url, count, freezes=True)
    return [*_figures("with traffic", calm), *_figures("with processes that stand still", rough)]


def _purge(servers: list[Deadly], url: str, count: int, *, freezes: bool) -> Trial:
    trial, is_over = Trial([server.port for server in servers]), threading.Event()
    freezer = threading.Thread(target=_freeze, args=(servers, is_over))
    purger = Purger(trial, url)
    with trial.traffic():
        purger.wait_until_kept()
        time.sleep(1)
        if freezes:
            freezer.start()
        purger.run(count, pause=0.05)
        is_over.set()
        if freezes:
            freezer.join()
        time.sleep(PROMISED_SECONDS)
    purger.close()
    return trial


def _freeze(servers: list[Deadly], is_over: threading.Event) -> None:
    number = 0
    while not is_over.wait(1.0):
        with frozen(servers[number % len(servers)]):
            time.sleep(FROZEN_SECONDS)
        number += 1


def _figures(when: str, trial: Trial) -> list[Figure]:
    seconds = [trial.seconds_of(purge) for purge in trial.purges]
    how = f"{HOW} {len(seconds)} purges, {trial.answers:,} answers."
    if "stand" in when:
        how += f" One process after the other is stopped (SIGSTOP) for {FROZEN_SECONDS} s, with a second between."
    return [
        Figure(what=f"last old answer, worst, {when}", value=max(seconds), unit="s", how=how, at_most=PROMISED_SECONDS),
        Figure(what=f"last old answer, median, {when}", value=statistics.median(seconds), unit="s", how=how),
    ]
