"""The embedded Postgres: what a cluster does while nothing goes wrong."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.local import cluster as cluster_module
from copperplate.local.binaries import find_binaries
from copperplate.local.cluster import Cluster, RunningCluster, find_running
from copperplate.local.errors import (
    ClusterError,
    OwnerUnreachable,
    TcpPortTaken,
)
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


def test_restart_keeps_the_data(data_dir: Path) -> None:
    with Cluster.start(data_dir) as cluster:
        answer = remember(cluster.superuser_url)
    with Cluster.start(data_dir) as cluster:
        assert recall(cluster.superuser_url) == answer


def test_stop_leaves_nothing_behind_and_may_be_repeated(data_dir: Path) -> None:
    threads = threading.active_count()
    cluster = Cluster.start(data_dir)
    assert list_processes(data_dir)
    cluster.stop()
    cluster.stop()
    assert list_processes(data_dir) == []
    assert threading.active_count() == threads
    assert list((data_dir / "postgres" / "run").iterdir()) == []
    assert find_running(data_dir) is None


def test_cluster_is_durable_private_and_the_same_everywhere(shared: Cluster, shared_dir: Path) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "max_connections": "200",
        "password_encryption": "scram-sha-256",
    }
    assert {name: query(shared.superuser_url, f"show {name}") for name in expected} == expected
    assert query(shared.superuser_url, "select 'Z' < 'a' and 'a' < 'é'") is True
    home = shared_dir / "postgres"
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "passwords.json").stat().st_mode) == 0o600


def test_wrong_password_is_refused(shared: Cluster) -> None:
    url = shared.superuser_url.replace(shared.passwords.supabase_admin, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_passwords_are_not_shown_by_repr(shared: Cluster, shared_dir: Path) -> None:
    running = find_running(shared_dir)
    assert running is not None
    assert running.passwords.postgres not in repr(running)
    assert running.passwords == shared.passwords


def test_url_of_a_role_without_login_names_those_with_one(shared: Cluster) -> None:
    with pytest.raises(ClusterError, match="supabase_admin, postgres, authenticator"):
        shared.url("anon")


def test_psql_takes_the_url(shared: Cluster) -> None:
    psql = find_binaries().folder / "psql"
    if not psql.exists():
        pytest.skip("these binaries have no psql")
    answer = subprocess.run(
        [psql, shared.superuser_url, "-Atc", "select 6 * 7"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "42\n"


def test_statements_and_their_values_stay_out_of_the_log(shared: Cluster, shared_dir: Path) -> None:
    with psycopg.connect(shared.superuser_url) as connection:
        connection.execute("create temporary table prompts (prompt text primary key)")
        connection.execute("insert into prompts values ('a secret prompt')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into prompts values ('a secret prompt')")
    log = (shared_dir / "postgres" / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "secret" not in log


def test_log_is_bounded(used_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster.start(used_dir).stop()
    monkeypatch.setattr(cluster_module, "LOG_MAX_BYTES", 100)
    log = used_dir / "postgres" / "postgres.log"
    log.write_text("old\n" * 100)
    with Cluster.start(used_dir):
        assert not log.read_text().startswith("old")
        assert log.with_suffix(".log.1").read_text().startswith("old")


# Beside a running one


def test_another_process_finds_the_running_cluster(used_dir: Path) -> None:
    with owning_process(used_dir) as process:
        ready = read_ready(process)
        running = find_running(used_dir)
        assert isinstance(running, RunningCluster)
        assert running.pid == ready["pid"]
        assert running.superuser_url == ready["url"]
        assert query(running.superuser_url, "select 1") == 1
        assert query(running.tcp_url("supabase_admin"), "select 2") == 2


def test_tcp_opens_on_request_without_disturbing_connections(shared: Cluster, shared_dir: Path) -> None:
    with psycopg.connect(shared.superuser_url) as connection:
        running = find_running(shared_dir)
        assert running is not None
        url = running.tcp_url("supabase_admin")
        assert url == running.tcp_url("supabase_admin") == shared.tcp_url("supabase_admin")
        assert re.fullmatch(r"postgresql://supabase_admin:\S+@127\.0\.0\.1:\d+/postgres", url)
        assert query(url, "select repeat('x', 1000000)") == "x" * 1_000_000
        assert connection.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(shared.passwords.supabase_admin, "wrong"))


def test_tcp_connections_end_with_their_client(shared: Cluster) -> None:
    count = "select count(*) from pg_stat_activity where application_name = 'by tcp'"
    connection = psycopg.connect(shared.tcp_url("supabase_admin"), application_name="by tcp")
    assert query(shared.superuser_url, count) == 1
    connection.close()
    eventually(lambda: query(shared.superuser_url, count) == 0)


def test_taken_tcp_port_is_refused_by_name(shared: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TcpPortTaken, match=f"Port {port}"):
            shared.tcp_url(port=port)
    assert f":{port}/" in shared.tcp_url(port=port)


def test_dead_control_socket_is_a_clear_error(shared: Cluster, folder: Path) -> None:
    lonely = RunningCluster(pid=1, socket_folder=folder, port=5432, passwords=shared.passwords)
    with pytest.raises(OwnerUnreachable, match="restart it"):
        lonely.tcp_url()
