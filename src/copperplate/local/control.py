"""The owner's control socket: opens TCP on 127.0.0.1 when asked, and does small chores meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from copperplate.local.errors import ClusterFailed
from copperplate.local.home import SOCKET_NAME
from copperplate.local.running import CONTROL_NAME

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Server, StreamReader, StreamWriter
    from collections.abc import Callable
    from pathlib import Path

CHUNK_BYTES = 65_536
CHORE_SECONDS = 30.0
LOOPBACK = "127.0.0.1"
# asyncio needs so many turns from the accepted socket to the first step of its handler.
HANDLER_TURNS = 4


class ControlServer:
    """Serves the control socket from a thread of its own until stopped."""

    def __init__(self, folder: Path, chore: Callable[[], None]) -> None:
        self._path = folder / CONTROL_NAME
        self._postgres = folder / SOCKET_NAME
        self._chore = chore
        self._listeners: dict[int, Server] = {}
        self._loop: AbstractEventLoop | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        self._stopping: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="copperplate-control", daemon=True)

    def start(self) -> None:
        """Listen, and return once a request would be heard."""
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            message = f"The control socket {self._path} cannot be made: {self._failure}"
            raise ClusterFailed(message) from self._failure

    def stop(self) -> None:
        """Close every listener and end the thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # The loop has ended by itself.
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as exc:
            self._failure = exc
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        control = await asyncio.start_unix_server(self._answer, self._path)
        self._started.set()
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), CHORE_SECONDS)
            with suppress(OSError):
                self._chore()
        await self._close(control, *self._listeners.values())

    async def _close(self, *servers: Server) -> None:
        # Closed between accepting a connection and handing it over, a server loses its socket; so it stops
        # accepting first, and each handler begins. Ending the loop then ends them, and they close what they hold.
        for listener in (listener for server in servers for listener in server.sockets):
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _turn in range(HANDLER_TURNS):
            await asyncio.sleep(0)
        for server in servers:
            server.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        answer: dict[str, int | str]
        try:
            answer = {"port": await self._listen(int(json.loads(await reader.readline())["tcp"]))}
        except (OSError, OverflowError, ValueError, KeyError, TypeError) as exc:
            answer = {"error": str(exc)}
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    async def _listen(self, port: int) -> int:
        """Return the port that is listened on: `port`, or for 0 the first one opened."""
        for open_port in self._listeners:
            if port in {0, open_port}:
                return open_port
        server = await asyncio.start_server(self._bridge, LOOPBACK, port)
        opened = int(server.sockets[0].getsockname()[1])
        self._listeners[opened] = server
        return opened

    async def _bridge(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            with suppress(OSError):
                postgres_reader, postgres_writer = await asyncio.open_unix_connection(self._postgres)
                await asyncio.gather(_pipe(reader, postgres_writer), _pipe(postgres_reader, writer))
        finally:
            writer.close()


async def _pipe(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        # Either side closing ends both: Postgres' protocol has no half-closed connection.
        writer.close()
