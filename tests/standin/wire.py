"""STAND-IN: the network between a client and an HTTP server, which a test can make misbehave, request by request."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Fault = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request on its way, and the connection that its answer would take."""

    def __init__(self, request: bytes, answer: Callable[[], Awaitable[bytes]], writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.answer = answer
        self.writer = writer


class Wire:
    """A proxy on loopback. Each request takes the next of `faults`; where none is left it is forwarded.

    `sent` has the path of every request that arrived here, answered or not.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults: deque[Fault] = deque()
        self.sent: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
            body = await reader.readexactly(int(fields.get(b"content-length", 0)))
            self.sent.append(head.split(b" ")[1].decode())
            fault = self.faults.popleft() if self.faults else forward
            await fault(Exchange(head + body, lambda: self._ask(head, body), writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            await _end(writer)

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """What the server answers, to its last byte."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        # One request a connection: the end of the answer is the end of the connection.
        try:
            writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
            answer = await reader.read()
        finally:
            await _end(writer)
        return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def forward(exchange: Exchange) -> None:
    """Deliver the server's answer."""
    exchange.writer.write(await exchange.answer())


async def lose_answer(exchange: Exchange) -> None:
    """The server has done its work; the client will never know."""
    await exchange.answer()


async def lose_request(_: Exchange) -> None:
    """Cut before the server hears of it."""


async def stay_silent(_: Exchange) -> None:
    """Take the request and say nothing."""
    await asyncio.Event().wait()


async def cut_short(exchange: Exchange) -> None:
    """Deliver all but the end of the answer."""
    exchange.writer.write((await exchange.answer())[:-20])


async def drip(exchange: Exchange) -> None:
    """Deliver the answer one byte at a time: no read ever times out."""
    for byte in await exchange.answer():
        exchange.writer.write(bytes([byte]))
        await exchange.writer.drain()
        await asyncio.sleep(0.05)


def say(status: int, body: bytes, *, media_type: str = "application/json", headers: str = "") -> Fault:
    """Answer this in the server's place, and end with the connection, as gateways do."""
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {media_type}\r\n{headers}Connection: close\r\n\r\n"

    async def fault(exchange: Exchange) -> None:
        exchange.writer.write(head.encode() + body)

    return fault


def page(status: int) -> Fault:
    """A gateway's own page."""
    return say(status, b"<html><head><title>Bad gateway</title></head></html>", media_type="text/html")
