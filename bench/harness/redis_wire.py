"""What lies between our server and Redis while it is measured: nothing, silence, or a delay."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 65_536


class Wire:
    """A port in front of another one; `fault` is set from outside at any moment: refused, silent or slow."""

    def __init__(self, to_port: int, delay_seconds: float) -> None:
        self._to = to_port
        self._delay = delay_seconds
        self.fault: str | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def break_by(self, fault: str) -> None:
        """From now on; refused also ends the connections that are open, as a server does that ends."""
        self.fault = fault
        if fault == "refused":
            self.close()

    def close(self) -> None:
        """Take no more, and end what is open."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, ValueError),
            caller,
            socket.create_connection(("127.0.0.1", self._to)) as server,
        ):
            self._open += [caller, server]
            for each in (caller, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                for ready in select.select([caller, server], [], [])[0]:
                    piece = ready.recv(PIECE_BYTES)
                    if not piece:
                        return
                    if ready is caller:
                        server.sendall(piece)
                        continue
                    if self.fault == "slow":
                        time.sleep(self._delay)
                    if self.fault != "silent":
                        caller.sendall(piece)


@contextlib.contextmanager
def wire_to(port: int, *, delay_seconds: float) -> Iterator[Wire]:
    """Until the block ends."""
    wire = Wire(port, delay_seconds)
    try:
        yield wire
    finally:
        wire.close()
