"""The embedded Postgres when its processes are killed, with real signals."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.local.accounts import Account
from copperplate.local.binaries import find_binaries
from copperplate.local.cluster import Cluster, find_running
from copperplate.local.errors import (
    ClusterFailed,
    ClusterRunning,
)
from copperplate.local.pidfile import is_postmaster_of
from tests.support.clusters import (
    eventually,
    list_processes,
    owning_process,
    query,
    read_ready,
    recall,
    remember,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_second_start_names_the_owner(shared: Cluster, shared_dir: Path) -> None:
    with pytest.raises(ClusterRunning, match=f"Process {os.getpid()} already runs") as caught:
        Cluster.start(shared_dir)
    assert caught.value.code == "cluster_running"
    assert query(shared.superuser_url, "select 1") == 1


def test_of_two_first_starts_at_once_one_wins_and_one_is_told(data_dir: Path) -> None:
    with owning_process(data_dir) as one, owning_process(data_dir) as other:
        outputs = {}
        for process in (one, other):
            assert process.stdout is not None
            outputs[process] = process.stdout.readline()
        winners = [process for process, line in outputs.items() if line]
        assert len(winners) == 1
        loser = other if winners == [one] else one
        assert "ClusterRunning: Process" in loser.communicate()[1]
        running = find_running(data_dir)
        assert running is not None
        assert query(running.superuser_url, "select 1") == 1


# Sudden deaths


def test_killed_parent_leaves_no_postmaster_behind(used_dir: Path) -> None:
    with owning_process(used_dir) as process:
        ready = read_ready(process)
        answer = remember(ready["url"])
        process.kill()
        process.wait()
        eventually(lambda: not list_processes(used_dir), seconds=2)
    assert find_running(used_dir) is None
    with Cluster.start(used_dir) as cluster:
        assert recall(cluster.superuser_url) == answer


def test_start_right_after_the_parent_was_killed_succeeds(used_dir: Path) -> None:
    with owning_process(used_dir) as process:
        answer = remember(read_ready(process)["url"])
        process.kill()
        process.wait()
    with Cluster.start(used_dir) as cluster:
        assert recall(cluster.superuser_url) == answer


def test_interrupt_at_the_terminal_reaches_the_parent_only(used_dir: Path) -> None:
    with owning_process(used_dir, start_new_session=True) as process:
        read_ready(process)
        children = children_of(process.pid)
        assert len(children) == 2
        assert os.getpgid(process.pid) not in {os.getpgid(pid) for pid in children}


def children_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [pid for pid, ppid in pairs if ppid == parent]


def test_crash_of_everything_at_once_loses_nothing(used_dir: Path) -> None:
    with owning_process(used_dir) as process:
        answer = remember(read_ready(process)["url"])
        for pid in (process.pid, *children_of(process.pid)):  # The watchdog among them: nothing tidies up.
            os.kill(pid, signal.SIGKILL)
        process.wait()
    assert (used_dir / "postgres" / "data" / "postmaster.pid").exists()
    eventually(lambda: find_running(used_dir) is None)
    with Cluster.start(used_dir) as cluster:
        assert recall(cluster.superuser_url) == answer


def test_orphan_without_watchdog_is_ended_by_the_next_start(used_dir: Path) -> None:
    with owning_process(used_dir) as process:
        ready = read_ready(process)
        answer = remember(ready["url"])
        for pid in (process.pid, *children_of(process.pid)):
            if pid != ready["pid"]:
                os.kill(pid, signal.SIGKILL)
        process.wait()
    assert is_postmaster_of(ready["pid"], used_dir.resolve() / "postgres" / "data")
    with Cluster.start(used_dir) as cluster:
        assert cluster.pid != ready["pid"]
        assert recall(cluster.superuser_url) == answer


def test_stale_pid_file_that_names_a_stranger_is_no_obstacle(used_dir: Path) -> None:
    with Cluster.start(used_dir) as cluster:
        answer = remember(cluster.superuser_url)
        pid_file = used_dir / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        account = Account.from_uid(pid_file.stat().st_uid)
    # Of Postgres' own user, whom Postgres would take for another postmaster.
    stranger = subprocess.Popen(["sleep", "60"], user=account.spawn_uid, cwd="/")
    try:
        socket_lock = used_dir / "postgres" / "run" / ".s.PGSQL.5432.lock"
        for stale in (pid_file, socket_lock):
            stale.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            stale.chmod(0o600)
            account.give(stale)
        assert find_running(used_dir) is None
        with Cluster.start(used_dir) as cluster:
            assert recall(cluster.superuser_url) == answer
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_killed_postmaster_is_started_again(used_dir: Path) -> None:
    said: list[str] = []
    with Cluster.start(used_dir, announce=said.append) as cluster:
        answer = remember(cluster.superuser_url)
        with psycopg.connect(cluster.superuser_url):  # A backend that has to notice, too.
            kill_and_await_another(cluster)
        cluster.ensure_running()
        assert recall(cluster.superuser_url) == answer
        assert any("ended unexpectedly" in text for text in said)
        assert len(list_processes(used_dir)) >= 2
    assert list_processes(used_dir) == []


def test_backend_that_lingers_after_its_postmaster_is_waited_for(used_dir: Path) -> None:
    log = used_dir / "postgres" / "postgres.log"
    with Cluster.start(used_dir) as cluster, psycopg.connect(cluster.superuser_url) as connection:
        answer = remember(cluster.superuser_url)
        backend, before = connection.info.backend_pid, cluster.pid
        refusals = log.read_text().count("shared memory block")
        os.kill(backend, signal.SIGSTOP)
        try:
            os.kill(before, signal.SIGKILL)
            eventually(lambda: log.read_text().count("shared memory block") > refusals)
        finally:
            os.kill(backend, signal.SIGCONT)
        eventually(lambda: cluster.pid != before)
        cluster.ensure_running()
        assert recall(cluster.superuser_url) == answer
        assert len(cluster._supervisor._restarts) == 1


def kill_and_await_another(cluster: Cluster) -> None:
    before = cluster.pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: cluster.pid != before)


def test_postmaster_that_keeps_dying_is_given_up(used_dir: Path) -> None:
    said: list[str] = []
    with Cluster.start(used_dir, announce=said.append) as cluster:
        tcp_url = cluster.tcp_url()
        for _ in range(5):
            cluster.ensure_running()
            kill_and_await_another(cluster)
        cluster.ensure_running()
        os.kill(cluster.pid, signal.SIGKILL)
        eventually(lambda: any("left stopped" in text for text in said))
        with pytest.raises(ClusterFailed, match="will not be started again"):
            cluster.ensure_running()
        with pytest.raises(psycopg.OperationalError, match="closed the connection"):
            psycopg.connect(tcp_url, connect_timeout=5)
    assert list_processes(used_dir) == []


# Folders, disks, versions

FAILING_INITDB = """#!/bin/sh
for argument; do
    case "$argument" in --pgdata=*) : > "${argument#--pgdata=}/PG_VERSION";; esac
done
echo "initdb: out of luck" >&2
exit 1
"""


def test_failed_initdb_leaves_no_half_cluster(data_dir: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_binaries()
    fake = folder / "fake-bin"
    fake.mkdir()
    (fake / "postgres").symlink_to(real.postgres)
    (fake / "initdb").write_text(FAILING_INITDB)
    (fake / "initdb").chmod(0o755)
    monkeypatch.setenv("COPPERPLATE_PG_BIN", str(fake))
    with pytest.raises(ClusterFailed, match="out of luck"):
        Cluster.start(data_dir)
    assert [file.name for file in (data_dir / "postgres").iterdir()] == []
    monkeypatch.delenv("COPPERPLATE_PG_BIN")
    with Cluster.start(data_dir) as cluster:
        assert query(cluster.superuser_url, "select 1") == 1


def test_interrupted_first_start_is_done_anew(data_dir: Path) -> None:
    staging = data_dir / "postgres" / "data.partial"
    staging.mkdir(parents=True)
    (staging / "PG_VERSION").write_text("18\n")
    with Cluster.start(data_dir) as cluster:
        assert query(cluster.superuser_url, "select 1") == 1
    assert not staging.exists()
