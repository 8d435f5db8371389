"""What may lie between a client and its server: a wire that delays answers, is silent, or is TLS."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

PIECE_BYTES = 65_536


class SlowWire:
    """A port of this machine in front of another one.

    `delay_seconds` holds each piece of an answer back; a silent wire takes connections and passes nothing on.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.port = 0
        self.delay_seconds = 0.0
        self.is_silent = False
        # Connections that were taken, and pieces of questions that came.
        self.connections = 0
        self.questions = 0
        self._listener: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def listen(self, tls: ssl.SSLContext | None) -> None:
        """Take connections, on the same port as before."""
        self._listener = await asyncio.start_server(self.serve, "127.0.0.1", self.port, ssl=tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no more connections; those that are open stay."""
        assert self._listener is not None
        self._listener.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self.connections += 1
        self._open[writer] = asyncio.current_task()
        with contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
            await asyncio.gather(self._ask(reader, server_writer), self._answer(server_reader, writer))
        writer.close()
        del self._open[writer]

    async def close(self) -> None:
        """End all connections."""
        tasks = [task for task in self._open.values() if task is not None]
        for writer in self._open:
            writer.close()
        await asyncio.gather(*tasks)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                self.questions += 1
                if not self.is_silent:
                    writer.write(piece)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                await asyncio.sleep(self.delay_seconds)
                writer.write(piece)
        writer.close()


@asynccontextmanager
async def slow_wire(to_port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[SlowWire]:
    """Until the block ends; with `tls` clients have to speak TLS."""
    wire = SlowWire(to_port)
    await wire.listen(tls)
    try:
        yield wire
    finally:
        wire.refuse()
        await wire.close()
