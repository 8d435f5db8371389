"""The control socket ends without leaving a connection open: its warning would fail a test that comes later."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import warnings
from typing import TYPE_CHECKING

from copperplate.local.control import ControlServer
from copperplate.local.home import SOCKET_NAME
from copperplate.local.running import CONTROL_NAME
from tests.support.clusters import open_folder

if TYPE_CHECKING:
    from pathlib import Path


def call(address: Path | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(str(address))
    return caller


def ask_port(folder: Path) -> int:
    with call(folder / CONTROL_NAME) as user_requests:
        user_requests.sendall(b'{"tcp": 0}\n')
        return int(json.loads(user_requests.recv(100))["port"])


def stop_under_callers(folder: Path) -> None:
    """End a server that silent callers are connected to: some it has heard of, some not yet."""
    with socket.socket(socket.AF_UNIX) as postgres, contextlib.ExitStack() as callers:
        postgres.bind(str(folder / SOCKET_NAME))
        postgres.listen(100)
        server = ControlServer(folder, lambda: None)
        server.start()
        port = ask_port(folder)
        for wave in range(2):
            for _ in range(10):
                callers.enter_context(call(folder / CONTROL_NAME))
                callers.enter_context(call(("127.0.0.1", port)))
            if wave == 0:
                ask_port(folder)  # the callers before this one are heard by now
        server.stop()


def test_server_that_is_stopped_closes_the_connections_of_its_callers() -> None:
    with open_folder() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stop_under_callers(folder)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
