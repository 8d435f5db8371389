"""Purges reach every process: four servers over one Postgres, with Redis, a shared disk, traffic, fills in flight."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from bench.harness.floods import SCALED, serving
from bench.harness.purge_trials import FROZEN_SECONDS, PICTURES, Purger, Trial, frozen
from tests.support.postgres_fixtures import making_databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.floods import Deadly
    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin
    from tests.support.valkey_server import Valkey

PROMISED_SECONDS = 3.0
SERVERS = 4
# `python -m bench purges` takes twice as many, and says the worst.
PURGES = 100


class Place:
    """The servers, and the database they share."""

    def __init__(self, servers: list[Deadly], database_url: str) -> None:
        self.servers = servers
        self.database_url = database_url

    def trial(self) -> Trial:
        return Trial([server.port for server in self.servers])


@pytest.fixture(scope="module")
def place(
    cluster: Cluster, standin_server: Standin, valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("coherence")
    settings = {
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin_server.url,
        "COPPERPLATE_DAILY_BUDGET_USD": "off",
        **SCALED,
        "REDIS_URL": valkey_server.url,
        "COPPERPLATE_DISK_CACHE_DIR": str(folder / "copies"),
    }
    with making_databases(cluster) as make:
        url = cluster.url(database=make())
        with serving(folder / "servers", url, [""] * SERVERS, **settings) as (_, servers):
            yield Place(servers, url)


def freeze_now_and_then(servers: list[Deadly], is_over: threading.Event) -> None:
    """One server after the other stands still for longer than its copies are trusted."""
    number = 0
    while not is_over.wait(1.0):
        with frozen(servers[number % len(servers)]):
            time.sleep(FROZEN_SECONDS)
        number += 1


def check(trial: Trial) -> None:
    """No old bytes are answered later than promised, beside what this machine kept everybody waiting."""
    late = [
        (purge.way, round(trial.seconds_of(purge), 2), round(trial.stalled_seconds(purge), 2), purge.digests)
        for purge in trial.purges
        if trial.seconds_of(purge) > PROMISED_SECONDS + trial.stalled_seconds(purge)
    ]
    assert not late, (late, [trial.last[digest] for digest in late[0][3] if digest in trial.last])
    assert not trial.failures


def test_purge_reaches_every_process_in_three_seconds_frozen_ones_too(place: Place) -> None:
    trial, is_over = place.trial(), threading.Event()
    freezer = threading.Thread(target=freeze_now_and_then, args=(place.servers, is_over))
    purger = Purger(trial, place.database_url)
    with trial.traffic():
        purger.wait_until_kept()
        time.sleep(1)
        freezer.start()
        purger.run(PURGES, pause=0.03)
        is_over.set()
        freezer.join()
        time.sleep(PROMISED_SECONDS)
    purger.close()
    check(trial)
    assert len(trial.purges) == PURGES
    assert trial.hits > PURGES
    # Some of them were answered after their purge: the trial shows what it says.
    assert max(trial.seconds_of(purge) for purge in trial.purges) > 0


def test_no_late_commit_is_lost_whatever_their_order(place: Place) -> None:
    trial = place.trial()
    purger = Purger(trial, place.database_url)
    with trial.traffic():
        purger.wait_until_kept()
        time.sleep(1)
        purger.delete_in_reverse(pause=0.2)
        time.sleep(PROMISED_SECONDS + 1)
    purger.close()
    assert len(trial.purges) == PICTURES
    assert all(purge.digests for purge in trial.purges)
    check(trial)
    ended_at = max(each.at for each in trial.last.values())
    gone = {digest for purge in trial.purges for digest in purge.digests}
    assert all(trial.last[digest].at < ended_at - 0.5 for digest in gone if digest in trial.last)
