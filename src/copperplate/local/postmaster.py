"""One run of the `postgres` program as our child, with a watchdog that ends it when we die."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.local.accounts import child_environment
from copperplate.local.errors import ClusterFailed, ClusterRunning
from copperplate.local.home import PORT, SOCKET_NAME
from copperplate.local.initdb import explain
from copperplate.local.interrupts import interrupts_deferred
from copperplate.local.pidfile import is_alive, is_postmaster_of, pid_file_path, read_pid_file

if TYPE_CHECKING:
    from pathlib import Path

    from copperplate.local.accounts import Account
    from copperplate.local.binaries import Binaries
    from copperplate.local.home import Home

SETTINGS = {
    # `cluster_name` also tells our postmasters from others in a process list.
    "cluster_name": "copperplate",
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    # Prompts are people's words: neither statements nor the values in DETAIL belong into a log file.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# For tests: a crash of the machine may lose everything, a crash of Postgres nothing.
THROWAWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
# Reads until we write a line (a normal end) or the pipe closes (we died), then ends the postmaster: fast, and
# after five seconds at once. The pid file guards against the id having passed to another process.
WATCHDOG = """
still_there() { read -r now < "$2" && [ "$now" = "$1" ]; }
read -r dismissed && exit 0
still_there "$1" "$2" && kill -INT "$1" || exit 0
for _ in 1 2 3 4 5; do sleep 1; still_there "$1" "$2" || exit 0; done
kill -QUIT "$1"
"""
# A crash recovery may have much to replay; a process that ends is noticed at once.
READY_SECONDS = 120.0
# Backends of a killed postmaster end by themselves, and until then Postgres refuses to start.
LEFTOVERS_SECONDS = 10.0
POLL_SECONDS = 0.005
FAST_STOP_SECONDS = 10.0
HARD_STOP_SECONDS = 5.0
# What the watchdog of a dead owner needs to end its postmaster.
ORPHAN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Everything that starting a postmaster needs."""

    home: Home
    account: Account
    binaries: Binaries
    socket_folder: Path
    is_durable: bool = True

    @property
    def command(self) -> list[str | Path]:
        """The command line of the postmaster."""
        settings = {**SETTINGS, **({} if self.is_durable else THROWAWAY_SETTINGS)}
        settings |= {"unix_socket_directories": str(self.socket_folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.binaries.postgres, "-D", self.home.pgdata, *options]


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A postmaster that was ready, and its watchdog."""

    process: subprocess.Popen[bytes]
    watchdog: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self.process.pid

    def wait(self) -> int:
        """Return the exit status once the postmaster has ended, and let the watchdog go."""
        status = self.process.wait()
        self._dismiss_watchdog()
        return status

    def stop(self) -> None:
        """End the postmaster: disconnect everybody and write a checkpoint; if that hangs, at once."""
        ways = (
            (signal.SIGINT, FAST_STOP_SECONDS),
            (signal.SIGQUIT, HARD_STOP_SECONDS),
            (signal.SIGKILL, HARD_STOP_SECONDS),
        )
        for number, seconds in ways:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        self._dismiss_watchdog()

    def _dismiss_watchdog(self) -> None:
        if self.watchdog.stdin is None or self.watchdog.stdin.closed:
            return
        # `stop` in one thread and `wait` in another may both come here.
        with suppress(BrokenPipeError, ValueError):
            self.watchdog.stdin.write(b"dismissed\n")
            self.watchdog.stdin.close()
        self.watchdog.wait()


def start_postmaster(installation: Installation) -> Postmaster:
    """Start Postgres and return once it takes connections."""
    _clear_stale_files(installation)
    give_up_at = time.monotonic() + LEFTOVERS_SECONDS
    while True:
        log_start = _log_size(installation)
        postmaster = _spawn(installation)
        try:
            has_ended = not _wait_until_ready(postmaster, installation)
        except BaseException:
            postmaster.stop()
            raise
        if not has_ended:
            return postmaster
        postmaster.wait()
        log = _read_log(installation, log_start)
        if "shared memory block" not in log or time.monotonic() > give_up_at:
            raise explain(log, installation.home.folder)
        time.sleep(0.1)


def _spawn(installation: Installation) -> Postmaster:
    account = installation.account
    # Between the two only we know of the postmaster.
    with interrupts_deferred(), installation.home.log.open("ab") as log:
        # Of its own session: a Ctrl-C in the terminal is ours to act upon, after the last request is served.
        process = subprocess.Popen(  # noqa: S603  # our own command line
            installation.command,
            cwd="/",
            env=child_environment(),
            user=account.spawn_uid,
            group=account.spawn_gid,
            extra_groups=account.spawn_groups,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            return Postmaster(process=process, watchdog=_spawn_watchdog(process.pid, installation))
        except BaseException:
            process.kill()
            process.wait()
            raise


def _spawn_watchdog(pid: int, installation: Installation) -> subprocess.Popen[bytes]:
    account = installation.account
    pid_file = pid_file_path(installation.home.pgdata)
    return subprocess.Popen(  # noqa: S603  # our own script
        ["/bin/sh", "-c", WATCHDOG, "copperplate-watchdog", str(pid), pid_file],
        cwd="/",
        env=child_environment(),
        user=account.spawn_uid,
        group=account.spawn_gid,
        extra_groups=account.spawn_groups,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_until_ready(postmaster: Postmaster, installation: Installation) -> bool:
    """Return whether Postgres is ready (True) or has ended instead (False)."""
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        if postmaster.process.poll() is not None:
            return False
        written = read_pid_file(installation.home.pgdata)
        if written is not None and written.pid == postmaster.pid and written.is_ready:
            return True
        time.sleep(POLL_SECONDS)
    message = f"Postgres was not ready within {READY_SECONDS:.0f} s; {installation.home.log} says why"
    raise ClusterFailed(message)


def _log_size(installation: Installation) -> int:
    log = installation.home.log
    return log.stat().st_size if log.exists() else 0


def _read_log(installation: Installation, start: int) -> str:
    with installation.home.log.open("rb") as log:
        log.seek(start)
        return log.read().decode(errors="replace")


def _clear_stale_files(installation: Installation) -> None:
    """Deal with what a dead owner left; the caller holds the lock, so no living owner is about."""
    pgdata = installation.home.pgdata
    written = read_pid_file(pgdata)
    if written is None or not is_alive(written.pid):
        return  # Postgres itself knows what to do with the file of a dead process.
    if not is_postmaster_of(written.pid, pgdata):
        # The id belongs to another process now, as after a reboot; Postgres would refuse to start.
        pid_file_path(pgdata).unlink(missing_ok=True)
        (installation.socket_folder / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        return
    _end_orphan(written.pid)


def _end_orphan(pid: int) -> None:
    # Its watchdog is ending it already, unless that was killed too.
    ways = ((0, ORPHAN_SECONDS), (signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, HARD_STOP_SECONDS))
    for number, seconds in ways:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            break
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            if not is_alive(pid):
                return
            time.sleep(POLL_SECONDS)
    message = f"A Postgres without an owner (process {pid}) uses this data folder and does not end: end it with kill"
    raise ClusterRunning(message)
