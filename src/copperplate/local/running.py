"""How to reach a cluster that runs: by its socket, or by TCP on request."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from copperplate.local.errors import OwnerUnreachable, TcpPortTaken
from copperplate.local.home import find_home
from copperplate.local.initdb import SUPERUSER
from copperplate.local.passwords import Passwords
from copperplate.local.pidfile import is_alive, is_postmaster_of, read_pid_file

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "postgres"
DATABASE = "postgres"
CONTROL_NAME = "control"
CONTROL_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCluster:
    """A running cluster, ours or another process's."""

    pid: int
    socket_folder: Path
    port: int
    passwords: Passwords

    def url(self, role: str = OWNER, database: str = DATABASE) -> str:
        """Return the libpq URL over the Unix socket; psql takes it too."""
        folder = quote(str(self.socket_folder), safe="")
        return f"postgresql://{self._credentials(role)}@/{quote(database, safe='')}?host={folder}&port={self.port}"

    @property
    def owner_url(self) -> str:
        """The URL of the owner of the schema, who is no superuser, as on hosted Supabase."""
        return self.url(OWNER)

    @property
    def superuser_url(self) -> str:
        """The URL of the superuser."""
        return self.url(SUPERUSER)

    def tcp_url(self, role: str = OWNER, database: str = DATABASE, *, port: int = 0) -> str:
        """Ask the owning process to listen on 127.0.0.1 and return that URL; port 0 means any, always the same."""
        answer = self._ask_owner({"tcp": port})
        if "port" not in answer:
            message = f"Port {port} on 127.0.0.1 cannot be used ({answer.get('error')}): name another port, or none"
            raise TcpPortTaken(message)
        return f"postgresql://{self._credentials(role)}@127.0.0.1:{answer['port']}/{quote(database, safe='')}"

    def _credentials(self, role: str) -> str:
        return f"{quote(role, safe='')}:{quote(self.passwords.of(role), safe='')}"

    def _ask_owner(self, request: dict[str, int]) -> dict[str, int | str]:
        path = self.socket_folder / CONTROL_NAME
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(CONTROL_TIMEOUT_SECONDS)
                connection.connect(str(path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as stream:
                    answer: dict[str, int | str] = json.loads(stream.readline())
                    return answer
        except (OSError, ValueError) as exc:
            message = f"The process that owns this database does not answer at {path} ({exc}): restart it"
            raise OwnerUnreachable(message) from exc


def find_running(data_dir: Path) -> RunningCluster | None:
    """Return the cluster that runs on `data_dir` now, whichever process owns it, or None."""
    home = find_home(data_dir)
    written = read_pid_file(home.pgdata) if home is not None else None
    if home is None or written is None or not written.is_ready:
        return None
    if not is_alive(written.pid) or not is_postmaster_of(written.pid, home.pgdata):
        return None
    return RunningCluster(
        pid=written.pid,
        socket_folder=written.socket_folder,
        port=written.port,
        passwords=Passwords.load(home.passwords),
    )
