"""The embedded Postgres of a data folder: one process owns it, others beside it may use it."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import psycopg

from copperplate.local.accounts import choose_account
from copperplate.local.binaries import find_binaries, make_reachable
from copperplate.local.control import ControlServer
from copperplate.local.errors import ClusterRunning, DataFolderUnusable
from copperplate.local.home import LOCK_NAME, PORT, Home, find_home, make_home
from copperplate.local.home import make_socket_folder as choose_socket_folder
from copperplate.local.initdb import explain, initialise, read_major
from copperplate.local.passwords import Passwords
from copperplate.local.postmaster import Installation
from copperplate.local.running import RunningCluster, find_running
from copperplate.local.supervisor import Supervisor, wait_for_restart

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

LOG_MAX_BYTES = 4 * 1024 * 1024

__all__ = ["Cluster", "RunningCluster", "find_running"]


def ignore(_message: str) -> None:
    """Say nothing."""


class Cluster:
    """A running Postgres that this process owns, and that ends with it, however it ends."""

    def __init__(self, *, supervisor: Supervisor, running: RunningCluster, resources: ExitStack) -> None:
        self._supervisor = supervisor
        self._running = running
        self._resources = resources

    @classmethod
    def start(cls, data_dir: Path, *, announce: Callable[[str], None] = ignore, is_durable: bool = True) -> Self:
        """Start the cluster of `data_dir`, which is made if need be, and return once it takes connections.

        `announce` hears what a person should know: where the data went, and every unexpected restart.
        `is_durable=False` is for tests only: quicker, but a power failure may lose everything.
        Raises a `ClusterError` whose message says what to do; nothing is left running then.
        """
        resources = ExitStack()
        try:
            data_dir = _make_data_dir(data_dir)
            _lock(data_dir, resources)
            installation = _install(data_dir, announce)
            return cls._run(replace(installation, is_durable=is_durable), announce, resources)
        except PermissionError as exc:
            resources.close()
            message = f"{exc.filename or data_dir} cannot be used ({exc.strerror}): run as the user who made it"
            raise DataFolderUnusable(message) from exc
        except OSError as exc:
            resources.close()
            raise explain(str(exc), data_dir) from exc
        except BaseException:
            resources.close()
            raise

    @classmethod
    def _run(cls, installation: Installation, announce: Callable[[str], None], resources: ExitStack) -> Self:
        home, sockets = installation.home, installation.socket_folder
        resources.callback(_remove_socket_folder, sockets, home)
        passwords = Passwords.load(home.passwords)
        _bound_log(home)
        supervisor = Supervisor(installation, announce)
        resources.callback(supervisor.stop)
        control = ControlServer(sockets, lambda: _bound_log(home))
        control.start()
        resources.callback(control.stop)
        running = RunningCluster(pid=supervisor.pid, socket_folder=sockets, port=PORT, passwords=passwords)
        return cls(supervisor=supervisor, running=running, resources=resources)

    def stop(self) -> None:
        """End Postgres cleanly and free the data folder; a repeat does nothing."""
        self._resources.close()

    def ensure_running(self, *, seconds: float = 30) -> None:
        """Return once Postgres answers, waiting out a restart; raise `ClusterFailed` where none will help."""
        wait_for_restart(self._supervisor, self._is_answering, seconds)

    @property
    def pid(self) -> int:
        """The process id of the postmaster, another one after a restart."""
        return self._supervisor.pid

    def url(self, role: str = "postgres", database: str = "postgres") -> str:
        """Return the libpq URL over the Unix socket; psql takes it too."""
        return self._running.url(role, database)

    @property
    def owner_url(self) -> str:
        """The URL of the owner of the schema, who is no superuser, as on hosted Supabase."""
        return self._running.owner_url

    @property
    def superuser_url(self) -> str:
        """The URL of the superuser."""
        return self._running.superuser_url

    @property
    def passwords(self) -> Passwords:
        """The passwords of the roles that may log in."""
        return self._running.passwords

    def tcp_url(self, role: str = "postgres", database: str = "postgres", *, port: int = 0) -> str:
        """Listen on 127.0.0.1 too and return that URL; port 0 means any, always the same."""
        return self._running.tcp_url(role, database, port=port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_answering(self) -> bool:
        try:
            psycopg.connect(self.superuser_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _make_data_dir(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return data_dir.resolve(strict=True)
    except OSError as exc:
        message = f"The data folder {data_dir} cannot be made or used ({exc.strerror}): set COPPERPLATE_DATA_DIR"
        raise DataFolderUnusable(message) from exc


def _lock(data_dir: Path, resources: ExitStack) -> None:
    """Take the data folder for this process; the lock goes with the process, so it is never stale."""
    file = data_dir / LOCK_NAME
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        message = f"{file} cannot be opened ({exc.strerror}): run as the user who owns {data_dir}"
        raise DataFolderUnusable(message) from exc
    resources.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
        message = (
            f"Process {owner} already runs the database of {data_dir}. "
            "Commands beside it use that one; to run a second server, set COPPERPLATE_DATA_DIR to another folder"
        )
        raise ClusterRunning(message) from None
    except OSError as exc:
        message = f"{file} cannot be locked ({exc.strerror}): put the data folder on a local disk"
        raise DataFolderUnusable(message) from exc
    with suppress(OSError):  # A full disk is found, and said, later; the number is only for people.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _install(data_dir: Path, announce: Callable[[str], None]) -> Installation:
    """Make sure that there is a cluster, and that its user can reach all it needs."""
    home = find_home(data_dir)
    major = read_major(home.pgdata) if home is not None else None
    binaries = find_binaries(major)
    account = choose_account(home.pgdata if home is not None else None)
    home = home or make_home(data_dir, account, announce)
    if account.is_other and not account.can_enter(home.folder):
        message = (
            f"Postgres runs as user {account.name}, who cannot enter {home.folder} any more: give that user "
            "the right to pass through the folders above it, or run as the user who owns them"
        )
        raise DataFolderUnusable(message)
    binaries = make_reachable(binaries, account, home.shelf, announce)
    if major is None:
        initialise(home, account, binaries)
    sockets = choose_socket_folder(home, account)
    return Installation(home=home, account=account, binaries=binaries, socket_folder=sockets)


def _remove_socket_folder(folder: Path, home: Home) -> None:
    if folder != home.run:
        shutil.rmtree(folder, ignore_errors=True)


def _bound_log(home: Home) -> None:
    # Postgres appends, so truncating below its feet is safe; the older half stays as `.1`.
    if home.log.exists() and home.log.stat().st_size > LOG_MAX_BYTES:
        shutil.copyfile(home.log, home.log.with_suffix(".log.1"))
        os.truncate(home.log, 0)
