"""A proxy that cuts the first stream once it has told something, and writes down what was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 65_536


class CuttingProxy:
    """Connections to a port of this machine; one request each, since every answer is passed on with its end."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        # The heads of requests for streams, in their order.
        self.streams: list[str] = []
        self.was_cut = threading.Event()

    def run(self) -> None:
        """Pass on until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller, socket.create_connection(("127.0.0.1", self._to)) as server:
            head = caller.recv(PIECE_BYTES)
            is_stream = b"/events" in head.partition(b"\r\n")[0]
            if is_stream:
                self.streams.append(head.decode())
            # One request a connection: what follows an answer is a new one.
            server.sendall(head.replace(b"Connection: keep-alive", b"Connection: close"))
            self._answer(server, caller, is_cut=is_stream and len(self.streams) == 1)

    def _answer(self, server: socket.socket, caller: socket.socket, *, is_cut: bool) -> None:
        while piece := server.recv(PIECE_BYTES):
            caller.sendall(piece)
            if is_cut and b"\ndata: " in piece:
                self.was_cut.set()
                return


@contextlib.contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    """Before a server's `port`, until the block ends."""
    proxy = CuttingProxy(port)
    threading.Thread(target=proxy.run, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
