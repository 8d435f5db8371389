"""Reads `postmaster.pid`, and tells whether the process it names is a postmaster of that data at all."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from copperplate.local.errors import DataFolderUnusable

# The lines that pidfile.h of Postgres 10 and later numbers 1, 4, 5 and 8.
PID_LINE, PORT_LINE, SOCKET_FOLDER_LINE, STATUS_LINE = 0, 3, 4, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """What a postmaster writes about itself."""

    pid: int
    port: int
    socket_folder: Path
    is_ready: bool


def pid_file_path(pgdata: Path) -> Path:
    """Return where the postmaster of `pgdata` writes about itself."""
    return pgdata / "postmaster.pid"


def read_pid_file(pgdata: Path) -> PidFile | None:
    """Return what the postmaster of `pgdata` wrote, or None where it wrote nothing, or not yet all."""
    try:
        lines = pid_file_path(pgdata).read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return None
    except PermissionError as exc:
        message = f"{pgdata} cannot be read: it belongs to another user; run as the user who made this cluster"
        raise DataFolderUnusable(message) from exc
    if len(lines) <= SOCKET_FOLDER_LINE:
        return None
    status = lines[STATUS_LINE].strip() if len(lines) > STATUS_LINE else ""
    return PidFile(
        pid=int(lines[PID_LINE]),
        port=int(lines[PORT_LINE]),
        socket_folder=Path(lines[SOCKET_FOLDER_LINE]),
        is_ready=status == "ready",
    )


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_postmaster_of(pid: int, pgdata: Path) -> bool:
    """Whether process `pid` is a postmaster we started on `pgdata`: after a crash the id may be anybody's."""
    command = _read_command(pid)
    return f" -D {pgdata} " in command and "cluster_name=copperplate" in command


def _read_command(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    answer = subprocess.run(  # noqa: S603  # a number is all that varies
        ["/bin/ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return answer.stdout
