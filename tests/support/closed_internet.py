"""An internet in one process: a table of names, one TLS server behind every public address, and a trap behind others.

Sockets are real and hooked where they connect: an attempt is recorded with the address that the operating system was
given, whatever is above it (httpx, httpcore, anyio, asyncio).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from copperplate.adapters.judged_transport import is_public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    import pytest

    Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]

PUBLIC, OTHER_PUBLIC = "93.184.216.34", "8.8.8.8"
# Covered by the server's certificate.
HOST, OTHER_HOST = "a.pictures.example", "b.pictures.example"


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer of HTTP; `_` in a header's name is `-`."""
    lines = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def redirect(status: int, location: str) -> bytes:
    """A redirect."""
    return answer(status=f"{status} Elsewhere", location=location)


@dataclass(kw_only=True)
class Internet:
    """`names` has the answers of each lookup of a name, the last one for ever; `pages` those of the server, which else
    answers a picture.

    `heads` are requests that came, `connects` every address that a socket was to connect to, `trapped` connections to
    one that is not public: they reach a real server on this machine.
    """

    tls: ssl.SSLContext
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    pages: dict[str, Answer] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    connects: list[str] = field(default_factory=list)
    lookups: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    trapped: int = 0

    def tell(self, names: Mapping[str, list[list[str]]], pages: Mapping[str, Answer]) -> None:
        """Begin anew with these."""
        self.names, self.pages = {HOST: [[PUBLIC]], OTHER_HOST: [[OTHER_PUBLIC]], **names}, dict(pages)
        self.heads, self.connects, self.trapped = [], [], 0
        self.lookups.clear()

    def look_up(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        """In place of `socket.getaddrinfo`: the table, the C library for numbers in any spelling, or a public host."""
        self.lookups[host] += 1
        answers = self.names.get(host.lower())
        if answers is None:
            with contextlib.suppress(socket.gaierror):
                return _getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            answers = [[PUBLIC]]
        found = answers[min(self.lookups[host], len(answers)) - 1]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(None, None, None, "", (address, port)) for address in found]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request by its path."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            told = self.pages.get(head.split(" ", 2)[1], answer(b"a picture"))
            if isinstance(told, bytes):
                writer.write(told)
                await writer.drain()
            else:
                await told(writer)
        writer.close()

    async def trap(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a connection that should not be."""
        self.trapped += 1
        writer.close()


_getaddrinfo = socket.getaddrinfo


@contextlib.asynccontextmanager
async def closed_internet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Internet]:
    """The one internet that sockets of this process know while the block lasts; `folder` is for its certificate."""
    serving, trusting = _certificates(folder)
    internet = Internet(tls=trusting)
    server = await asyncio.start_server(internet.serve, "127.0.0.1", 0, ssl=serving)
    trap = await asyncio.start_server(internet.trap, "127.0.0.1", 0)
    connect = socket.socket.connect

    def connect_hooked(self: socket.socket, address: tuple[str, int]) -> None:
        internet.connects.append(address[0])
        behind = server if is_public(address[0]) and address[1] == 443 else trap
        if self.family is not socket.AF_INET:
            internet.trapped += behind is trap
            raise ConnectionRefusedError
        connect(self, ("127.0.0.1", behind.sockets[0].getsockname()[1]))

    async with server, trap:
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", connect_hooked)
            patch.setattr(socket, "getaddrinfo", internet.look_up)
            yield internet


def _certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("*.pictures.example")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(folder / "server.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return serving, trusting
