"""Streams over real sockets and our own connections: callers that read nothing, and what is left of those that go."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import uvicorn

from copperplate.adapters.memory.clock import FakeClock
from copperplate.http.followers import StreamTimes
from copperplate.http.server.connections import Connections, protocol
from tests.support.coordinator_harness import GatedProvider
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.streaming import ALLOWED
from tests.support.streams import Desk, events_in
from tests.unit.test_batch_streams import keep, pictures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WALL_SECONDS = 30.0
# One snapshot of so many members is ten pages of 50 kB, more than the buffers below and uvicorn's own take.
MEMBERS = 1_000
BUFFER_BYTES = 4_096
TIMES = StreamTimes(comment=0.05, send=0.3, life=60, tick=0.02)


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services(environ=ALLOWED, provider=GatedProvider(FakeClock()))
    yield made
    await made.shut_down(within_seconds=0)
    await made.request_meter.close()


class Served:
    """A server of one process, and its streams."""

    def __init__(self, desk: Desk, listener: socket.socket) -> None:
        self.desk = desk
        self.connections = Connections(most=100)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(desk.app, http=protocol(self.connections), lifespan="off", log_config=None)
        self.server = uvicorn.Server(config)

    async def ask(self, path: str, *, buffer_bytes: int | None = None) -> socket.socket:
        """Open a stream; with a small buffer its caller soon takes no more."""
        caller = socket.socket()
        if buffer_bytes is not None:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(caller, ("127.0.0.1", self.port))
        await loop.sock_sendall(caller, f"GET {path} HTTP/1.1\r\nHost: pictures.test\r\n\r\n".encode())
        return caller


@pytest.fixture
async def served(services: MemoryServices) -> AsyncIterator[Served]:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    listener.bind(("127.0.0.1", 0))
    running = Served(Desk(services, TIMES), listener)
    serving = asyncio.create_task(running.server._serve([listener]))
    while not running.server.started:
        await asyncio.sleep(0.01)
    yield running
    services.watches.close()
    running.server.should_exit = True
    await asyncio.wait_for(serving, WALL_SECONDS)


async def read_until(caller: socket.socket, what: bytes) -> bytes:
    loop, seen = asyncio.get_running_loop(), b""
    async with asyncio.timeout(WALL_SECONDS):
        while what not in seen:
            piece = await loop.sock_recv(caller, 65_536)
            assert piece, seen
            seen += piece
    return seen


async def eventually_empty(desk: Desk) -> None:
    async with asyncio.timeout(WALL_SECONDS):
        while not desk.is_empty():
            await asyncio.sleep(0.01)


async def test_a_frozen_caller_ends_while_others_are_told_on(
    served: Served, services: MemoryServices, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/api/batches/{await keep(services, *pictures(MEMBERS))}/events"
    frozen = await served.ask(path, buffer_bytes=2_048)
    reading = await served.ask(path)
    seen = await read_until(reading, b'"page":10,')
    async with asyncio.timeout(WALL_SECONDS):
        while len(served.desk.followers) > 1:
            await asyncio.sleep(0.01)
    seen += await read_until(reading, b"\n:\n\n")
    assert seen.count(b"event: progress") == 10
    # Its connection is closed although it takes nothing: what was not sent yet is lost with it.
    taken = b""
    while piece := await asyncio.get_running_loop().sock_recv(frozen, 65_536):
        taken += piece
    assert b'"page":1,' in taken
    assert b'"page":10,' not in taken
    frozen.close()
    reading.close()
    await eventually_empty(served.desk)
    assert not caplog.records


async def test_those_who_hang_up_are_noticed_at_once(served: Served, services: MemoryServices) -> None:
    path = f"/api/batches/{await keep(services, *pictures(2))}/events"
    callers = [await served.ask(path) for _ in range(10)]
    for caller in callers:
        seen = await read_until(caller, b"\n\n")
        [event] = events_in(b"retry" + seen.partition(b"\r\n\r\n")[2].partition(b"retry")[2].partition(b"\r\n")[0])
        assert event.name == "progress"
        caller.close()
    await eventually_empty(served.desk)
    assert not served.server.server_state.connections


async def test_a_stop_waits_for_no_stream(served: Served, services: MemoryServices) -> None:
    path = f"/api/batches/{await keep(services, *pictures(2))}/events"
    caller = await served.ask(path)
    await read_until(caller, b"\n\n")
    served.server.should_exit = True
    await services.shut_down(within_seconds=0)
    assert (await read_until(caller, b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
    caller.close()
    await eventually_empty(served.desk)
