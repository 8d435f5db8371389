"""A real PgBouncer in front of a test's cluster, and the fixtures that bring it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from copperplate.local.accounts import choose_account
from tests.support.clusters import open_folder
from tests.support.postgrest_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copperplate.local.cluster import Cluster

START_SECONDS = 15.0
# With round robin one caller's next transaction has another session, also where it is alone.
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 500
server_round_robin = 1
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {folder}
auth_type = scram-sha-256
auth_file = {folder}/users.txt
admin_users = postgres
"""


class PgBouncer:
    """One PgBouncer process over TCP to a cluster, for its role `postgres`."""

    def __init__(self, cluster: Cluster, folder: Path, port: int) -> None:
        given = conninfo_to_dict(cluster.tcp_url())
        self.port = port
        self.folder = folder
        self.server_port = given["port"]
        self._password = str(given["password"])

    def url(self, database: str) -> str:
        """Its libpq URL over TCP."""
        return f"postgresql://postgres:{quote(self._password, safe='')}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """Its libpq URL over the Unix socket."""
        place = f"host={quote(str(self.folder), safe='')}&port={self.port}"
        return f"postgresql://postgres:{quote(self._password, safe='')}@/{database}?{place}"

    def command(self, statement: str) -> None:
        """A command of its own console, such as `reconnect`."""
        with psycopg.connect(self.url("pgbouncer"), autocommit=True) as console:
            console.pgconn.exec_(statement.encode())

    def configure(self, mode: str, pool_size: int) -> None:
        """Write its two files."""
        settings = {"mode": mode, "pool_size": pool_size, "port": self.port, "server_port": self.server_port}
        (self.folder / "users.txt").write_text(f'"postgres" "{self._password}"\n')
        (self.folder / "pgbouncer.ini").write_text(CONFIGURATION.format(folder=self.folder, **settings))


@contextmanager
def start_pgbouncer(cluster: Cluster, *, mode: str = "transaction", pool_size: int = 4) -> Iterator[PgBouncer]:
    """PgBouncer on a port of its own; skips where it is not installed."""
    # Debian keeps it where only root looks.
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian and Ubuntu: apt-get install pgbouncer)")
    with open_folder() as folder:
        bouncer = PgBouncer(cluster, folder, free_port())
        bouncer.configure(mode, pool_size)
        # It refuses to run as root.
        account = choose_account(None)
        for path in (folder, *folder.iterdir()):
            account.give(path)
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, folder / "pgbouncer.ini"],
                user=account.spawn_uid,
                group=account.spawn_gid,
                extra_groups=account.spawn_groups,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        with process:
            try:
                _wait(process, bouncer, log)
                yield bouncer
            finally:
                process.send_signal(signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], bouncer: PgBouncer, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(bouncer.url("pgbouncer"), autocommit=True, connect_timeout=2).close()
        except psycopg.OperationalError:
            is_hopeless = process.poll() is not None or time.monotonic() > give_up_at
            assert not is_hopeless, f"PgBouncer does not start: {log.read_text()}"
            time.sleep(0.01)
        else:
            return


@pytest.fixture(scope="session")
def pgbouncer(cluster: Cluster) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode, with fewer sessions than callers."""
    with start_pgbouncer(cluster) as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def session_pgbouncer(cluster: Cluster) -> Iterator[PgBouncer]:
    """PgBouncer in session mode."""
    with start_pgbouncer(cluster, mode="session", pool_size=40) as bouncer:
        yield bouncer
