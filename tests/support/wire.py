"""A TCP proxy before a database: the network that cuts, or falls silent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit, urlunsplit

# asyncio needs so many turns from the accepted socket to its handler.
ACCEPT_TURNS = 3


class Wire:
    """`cut_after` closes once the server has answered, `is_silent` forwards nothing."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cut_after: bytes | None = None
        self.cuts = 0
        self.is_silent = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}")) + "?sslmode=disable"
        return self

    async def __aexit__(self, *_: object) -> None:
        # A server that is closed between accepting a socket and handing it over loses it, so it stops accepting first.
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _turn in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            # Not flushed to who may not read; and a task that ended before its first step has closed nothing.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: asyncio keeps its task of one to itself, and that cannot be waited for.
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):  # the database is not there; neither are we
                await self._forward(reader, writer)
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._parts.port)
        self._writers.add(inner_writer)
        doomed = asyncio.Event()

        async def forth() -> None:
            while chunk := await reader.read(65_536):
                await self._hold()
                if self.cut_after is not None and self.cut_after in chunk:
                    self.cut_after = None
                    doomed.set()
                inner_writer.write(chunk)

        async def back() -> None:
            while chunk := await inner_reader.read(65_536):
                await self._hold()
                # `Z` ends an answer: the transaction is committed, and the client will never know.
                if doomed.is_set():
                    if b"Z\x00\x00\x00\x05" in chunk:
                        self.cuts += 1
                        return
                    continue
                writer.write(chunk)

        ways = [asyncio.create_task(forth()), asyncio.create_task(back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            inner_writer.transport.abort()

    async def _hold(self) -> None:
        while self.is_silent:
            await asyncio.sleep(0.01)
