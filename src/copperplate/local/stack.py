"""One call to a migrated database, for every command: the running one, or one of its own."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from copperplate.local.bootstrap import bootstrap
from copperplate.local.cluster import Cluster, find_running
from copperplate.local.errors import ClusterRunning
from copperplate.local.home import find_home
from copperplate.local.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copperplate.local.running import RunningCluster

# A first start beside us: initdb on a slow disk.
PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.05


@contextmanager
def open_database(data_dir: Path, announce: Callable[[str], None]) -> Iterator[str]:
    """Yield the owner's URL of the migrated database of `data_dir`; what was started for it is stopped after."""
    with open_cluster(data_dir, announce) as cluster:
        prepare(cluster, announce)
        yield cluster.owner_url


@contextmanager
def open_cluster(data_dir: Path, announce: Callable[[str], None]) -> Iterator[Cluster | RunningCluster]:
    """Yield the cluster that runs on `data_dir`, or start one and stop it after."""
    if running := find_running(data_dir):
        yield running
        return
    if find_home(data_dir) is None:
        # A command in the wrong folder would else answer zeros, and nobody would see why.
        announce(f"{data_dir} has no database yet: making an empty one")
    try:
        cluster = Cluster.start(data_dir, announce=announce)
    except ClusterRunning:
        # Its owner is starting it at this very moment, or has just begun to stop it.
        yield _wait_for_owner(data_dir)
        return
    with cluster:
        yield cluster


def prepare(cluster: Cluster | RunningCluster, announce: Callable[[str], None]) -> None:
    """Bootstrap and migrate the cluster's database; quick where both are done."""
    bootstrap(cluster.superuser_url, passwords=cluster.passwords)
    migrate(cluster.owner_url, announce=announce)


def _wait_for_owner(data_dir: Path) -> RunningCluster:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        if running := find_running(data_dir):
            return running
        time.sleep(POLL_SECONDS)
    message = f"Another process holds {data_dir}, but its database does not answer: end that process, or wait for it"
    raise ClusterRunning(message)
