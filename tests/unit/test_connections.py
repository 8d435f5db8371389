"""Callers that send half a request, or take no answer, over real sockets; the bounds are scaled down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from copperplate.http.answers import SEND_WHOLE, Answer
from copperplate.http.server import connections
from copperplate.http.server.connections import Connection, Connections, protocol
from copperplate.http.server.open_files import room_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message, Receive, Scope, Send

MOST = 8
HALF = b"GET /whole HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"\r\n"
# Of one answer, more than the buffers of a loopback socket take.
LARGE_BYTES = 32_000_000
# The same for a caller whose own buffer is small.
UNREAD_BYTES = 8_000_000
WALL_SECONDS = 30.0


class Site:
    """An application that answers at once, unless it is told to wait."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = Connections(most=MOST)
        self.open = asyncio.Event()
        self.asked = 0
        self.in_tasks = 0
        # uvicorn's own, from when a socket is accepted until it is lost.
        self.accepted: set[object] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        self.in_tasks += 1
        if scope["path"] == "/wait":
            await self.open.wait()
        for message in self.messages(scope["path"]):
            await send(message)

    def messages(self, path: str) -> tuple[Message, Message]:
        body = b"x" * {"/large": LARGE_BYTES, "/unread": UNREAD_BYTES}.get(path, 5)
        headers = [(b"content-length", str(len(body)).encode())]
        return (
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": body},
        )

    async def connect(self, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        await writer.drain()
        return reader, writer

    async def leave_unread(self, behind: bytes) -> socket.socket:
        """Ask for more than is taken, and send `behind` after it."""
        caller = socket.socket()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        caller.setblocking(False)
        loop, before = asyncio.get_running_loop(), self.asked
        await loop.sock_connect(caller, ("127.0.0.1", self.port))
        await loop.sock_sendall(caller, WHOLE.replace(b"whole", b"unread"))
        while self.asked == before:
            await asyncio.sleep(0.01)
        await loop.sock_sendall(caller, behind)
        return caller

    async def ask(self, sent: bytes = WHOLE) -> bytes:
        """What is answered until the server closes, or the whole of one answer."""
        reader, writer = await self.connect(sent)
        try:
            return await answer_of(reader)
        finally:
            writer.close()


class SiteAtOnce(Site):
    """One that needs no task for what it need not wait for."""

    pass_on = Site.__call__

    def find_answer(self, scope: Scope) -> Answer | None:
        if scope["path"] == "/wait":
            return None
        start, end = self.messages(scope["path"])
        if scope["path"] == "/broken":
            start["headers"].append((b"x", b"one\r\ntwo: three"))
        else:
            self.asked += 1
        body = b"" if scope["method"] == "HEAD" else end["body"]
        return Answer(start["status"], start["headers"], body, None)


class SiteWhole(SiteAtOnce):
    """One whose answers all need a task, which sends them whole where the server takes them so."""

    whole = 0

    def find_answer(self, scope: Scope) -> Answer | None:
        return None

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, end = self.messages(scope["path"])
        answer = Answer(start["status"], start["headers"], end["body"], None)
        if scope["path"] == "/chunks":
            answer.headers[:] = [(b"x-length", b"unknown")]
        if scope["path"] == "/wait":
            await self.open.wait()
        self.asked += 1
        send_whole = getattr(send, SEND_WHOLE, None)
        if send_whole is not None and send_whole(answer, answer.body):
            self.whole += 1
        else:
            await send(start)
            await send(end)


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(WALL_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        return head + await reader.readexactly(size)


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """What comes before the server closes."""
    async with asyncio.timeout(WALL_SECONDS):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()
        return b""


@pytest.fixture(params=[Site, SiteAtOnce], ids=["in a task", "at once"])
async def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    for name, seconds in (("HEAD", 0.6), ("BODY", 0.4), ("LOOK", 0.05), ("UNREAD", 0.5), ("FRESH", 0.1), ("LATE", 0.3)):
        monkeypatch.setattr(connections, f"{name}_SECONDS", seconds)
    made: Site = request.param()
    config = uvicorn.Config(
        made,
        port=0,
        http=protocol(made.connections),
        ws="none",
        proxy_headers=False,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    made.accepted = server.server_state.connections  # type: ignore[assignment]
    made.port = server.servers[0].sockets[0].getsockname()[1]
    yield made
    made.open.set()
    server.should_exit = True
    await serving


async def test_head_that_does_not_end_in_time_is_told_so_and_closed(site: Site) -> None:
    reader, writer = await site.connect(HALF)
    ended = await end_of(reader)
    writer.close()
    assert ended.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in ended
    assert site.asked == 0


@pytest.mark.parametrize("piece", [b"X-Slow: 1\r\n", b""])
async def test_head_that_comes_in_drops_or_not_at_all_is_closed_too(site: Site, piece: bytes) -> None:
    reader, writer = await site.connect(HALF if piece else b"")
    ending = asyncio.create_task(end_of(reader))
    while not ending.done():
        with contextlib.suppress(ConnectionError):
            writer.write(piece)
            await writer.drain()
        await asyncio.sleep(0.05)
    writer.close()
    assert (await ending)[:12] == (b"HTTP/1.1 408" if piece else b"")


async def test_kept_connection_is_not_held_open_by_empty_lines(site: Site) -> None:
    reader, writer = await site.connect(WHOLE)
    assert (await answer_of(reader)).endswith(b"xxxxx")
    ending = asyncio.create_task(end_of(reader))
    while not ending.done():
        with contextlib.suppress(ConnectionError):
            writer.write(b"\r\n")
            await writer.drain()
        await asyncio.sleep(0.05)
    writer.close()
    await ending


async def test_body_that_never_comes_does_not_hold_a_connection_that_was_answered(site: Site) -> None:
    reader, writer = await site.connect(HALF + b"Content-Length: 1000\r\n\r\n")
    assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
    ending = asyncio.create_task(end_of(reader))
    while not ending.done():
        with contextlib.suppress(ConnectionError):
            writer.write(b"x")
            await writer.drain()
        await asyncio.sleep(0.05)
    writer.close()
    await ending


async def test_head_without_end_is_refused(site: Site) -> None:
    reader, writer = await site.connect(HALF)
    ending = asyncio.create_task(end_of(reader))
    with contextlib.suppress(ConnectionError):
        for _ in range(40):
            writer.write(b"X-Long: " + b"y" * 16_000 + b"\r\n")
            await writer.drain()
    assert site.asked == 0
    # A reset may overtake the answer: what counts is that it ends before its time is over.
    assert (await ending)[:12] in (b"HTTP/1.1 431", b"")
    writer.close()


async def test_half_sent_requests_up_to_the_bound_and_far_beyond_cost_others_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    held = [await site.connect(HALF) for _ in range(5 * MOST)]
    for _ in range(10):
        assert (await site.ask()).startswith(b"HTTP/1.1 200 ")
    for reader, writer in held:
        await end_of(reader)
        writer.close()
    [said] = [record.getMessage() for record in caplog.records if "the bound of this process" in record.getMessage()]
    assert said.startswith(f"{MOST} connections are open")
    assert "docs/containers.md" in said


async def test_kept_connections_up_to_the_bound_make_room_for_new_ones(site: Site) -> None:
    held = [await site.connect(WHOLE) for _ in range(MOST)]
    for reader, _ in held:
        await answer_of(reader)
    assert (await site.ask()).startswith(b"HTTP/1.1 200 ")
    assert await end_of(held[0][0]) == b""
    # The others are still good for another request.
    held[-1][1].write(WHOLE)
    assert (await answer_of(held[-1][0])).startswith(b"HTTP/1.1 200 ")
    for _, writer in held:
        writer.close()


async def test_where_everybody_waits_for_an_answer_one_more_is_told_to_come_back(site: Site) -> None:
    held = [await site.connect(WHOLE.replace(b"whole", b"wait")) for _ in range(MOST)]
    while site.asked < MOST:
        await asyncio.sleep(0.01)
    reader, writer = await site.connect(b"")
    refused = await end_of(reader)
    writer.close()
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in refused
    await asyncio.sleep(1)  # longer than a head may take: those who wait are not hurried
    site.open.set()
    for waiting, kept in held:
        assert (await answer_of(waiting)).startswith(b"HTTP/1.1 200 ")
        kept.close()


async def test_answer_that_is_not_read_is_given_up(site: Site) -> None:
    reader, writer = await site.connect(WHOLE.replace(b"whole", b"large"))
    await asyncio.sleep(2)
    async with asyncio.timeout(WALL_SECONDS):
        with contextlib.suppress(ConnectionResetError):
            assert len(await reader.read()) < LARGE_BYTES
    writer.close()


@pytest.mark.parametrize("behind", [b"", b"GET / HTT", HALF + b"Content-Length: 9\r\n\r\n"])
async def test_unread_answers_hold_their_files_no_longer_than_the_bound_whatever_follows(
    behind: bytes, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", WALL_SECONDS)
    with contextlib.ExitStack() as held:
        for _ in range(MOST):
            held.enter_context(await site.leave_unread(behind))
        await asyncio.sleep(1.5)  # longer than a head and a body may take
        assert len(site.accepted) == len(site.connections._open) == MOST
        # Room is made by none of them: their files would not be free at once.
        assert (await site.ask()).startswith(b"HTTP/1.1 503 ")
        monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.5)
        async with asyncio.timeout(WALL_SECONDS):
            while site.accepted:
                assert len(site.connections._open) == len(site.accepted)
                await asyncio.sleep(0.01)
        assert not site.connections._open
        assert (await site.ask()).startswith(b"HTTP/1.1 200 ")


def test_only_what_a_caller_takes_gives_it_more_time() -> None:
    now, unsent = 0.0, 0
    asked: Any = Connection.__new__(Connection)
    asked._unsent = (0, 0.0)
    asked.loop = type("Loop", (), {"time": lambda _: now})()
    asked.transport = type("Transport", (), {"get_write_buffer_size": lambda _: unsent})()
    looks = ((1, 0, False), (2, 9, False), (40, 10, False), (62, 11, True), (63, 8, False))
    for now, unsent, is_stuck in looks:  # noqa: B007 - the stand-ins say them
        assert asked.is_stuck() is is_stuck


@pytest.mark.parametrize(
    ("behind", "then"), [(b"GET / HT", b"HTTP/1.1 408 "), (HALF + b"X: " + b"y" * 70_000, b"HTTP/1.1 431 ")]
)
async def test_half_a_request_behind_another_waits_for_that_ones_answer(behind: bytes, then: bytes, site: Site) -> None:
    reader, writer = await site.connect(WHOLE.replace(b"whole", b"wait") + behind[:8])
    while not site.asked:
        await asyncio.sleep(0.01)
    writer.write(behind[8:])
    await asyncio.sleep(1.5)  # longer than a head may take
    site.open.set()
    assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
    assert (await end_of(reader)).startswith(then)
    assert site.asked == 1
    writer.close()


async def test_empty_line_on_a_kept_connection_draws_no_answer(site: Site) -> None:
    reader, writer = await site.connect(WHOLE)
    await answer_of(reader)
    writer.write(b"\r\n")
    assert await end_of(reader) == b""
    writer.close()


async def test_body_that_ends_after_its_answer_leaves_a_connection_that_is_judged(site: Site) -> None:
    reader, writer = await site.connect(HALF + b"Content-Length: 5\r\n\r\n")
    await answer_of(reader)
    writer.write(b"xxxxx")
    assert await end_of(reader) == b""
    writer.close()


@pytest.mark.parametrize("before", [b"", WHOLE])
async def test_large_head_is_refused_also_where_it_comes_in_one_piece(before: bytes, site: Site) -> None:
    def head(size: int) -> bytes:
        return before + HALF + b"X: " + b"y" * size + b"\r\n\r\n"

    for size, status in ((60_000, b"HTTP/1.1 200 "), (70_000, b"HTTP/1.1 431 ")):
        reader, writer = await site.connect(head(size))
        if before:
            assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
        assert (await answer_of(reader)).startswith(status)
        writer.close()


async def test_small_heads_are_not_added_up(site: Site) -> None:
    reader, writer = await site.connect((HALF + b"X: " + b"y" * 900 + b"\r\n\r\n") * 200)
    for _ in range(200):
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_request_for_another_protocol_is_answered_as_any_other(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = HALF + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    reader, writer = await site.connect(upgrade)
    for sent in (WHOLE, upgrade, b""):
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
        writer.write(sent)
    writer.close()
    assert not caplog.records


async def test_request_that_came_while_the_process_stood_still_is_answered(site: Site) -> None:
    kept, beginning = await site.connect(WHOLE), await site.connect(HALF)
    await answer_of(kept[0])
    while len(site.connections._receiving) != 1 or len(site.connections._idle) != 1:
        await asyncio.sleep(0.01)
    [idle] = site.connections._idle
    # What the two sent lies in their sockets; nothing reads it before the timers, which are all overdue, are run.
    for (_, writer), rest in ((kept, WHOLE), (beginning, b"\r\n")):
        writer.write(rest)
    time.sleep(1)
    site.connections._look()
    idle.timeout_keep_alive_handler()
    for reader, writer in (kept, beginning):
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_requests_sent_together_are_answered_in_turn(site: Site) -> None:
    reader, writer = await site.connect(WHOLE * 5)
    for _ in range(5):
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_request_behind_one_that_waits_is_answered_after_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", WALL_SECONDS)  # here the caller takes what it is sent
    reader, writer = await site.connect(WHOLE.replace(b"whole", b"wait") + WHOLE.replace(b"whole", b"large"))
    await asyncio.sleep(0.1)
    assert (site.asked, reader._buffer) == (1, b"")  # type: ignore[attr-defined]
    site.open.set()
    assert b"content-length: 5\r\n" in await answer_of(reader)
    assert f"content-length: {LARGE_BYTES}\r\n".encode() in await answer_of(reader)
    writer.close()


async def test_request_behind_an_answer_is_not_closed_as_idle(site: Site) -> None:
    reader, writer = await site.connect(WHOLE + WHOLE.replace(b"whole", b"wait"))
    await answer_of(reader)
    (connection,) = site.connections._open
    while site.in_tasks == 0 or site.asked < 2:
        await asyncio.sleep(0.01)
    assert connection.timeout_keep_alive_task is None
    site.open.set()
    assert (await answer_of(reader)).endswith(b"xxxxx")
    writer.close()


async def test_hundreds_of_requests_behind_one_that_waits_are_all_answered(site: Site) -> None:
    head = WHOLE.replace(b"GET", b"HEAD")
    reader, writer = await site.connect(WHOLE.replace(b"whole", b"wait") + 400 * head)
    await asyncio.sleep(0.1)
    site.open.set()
    await answer_of(reader)
    async with asyncio.timeout(WALL_SECONDS):
        for _ in range(400):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("site", [SiteAtOnce], indirect=True)
async def test_what_is_answered_at_once_needs_no_task_and_is_whole(site: Site) -> None:
    kept = WHOLE.replace(b"GET", b"HEAD") + WHOLE
    reader, writer = await site.connect(kept.replace(b"Host", b"Connection: close\r\nHost"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert (head[:16], await reader.read()) == (b"HTTP/1.1 200 OK\r", b"")
    assert (await site.ask(WHOLE + WHOLE)).endswith(b"\r\n\r\nxxxxx")
    assert (await site.ask(HALF + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")).endswith(b"\r\n\r\nxxxxx")
    assert site.in_tasks == 0
    writer.close()


@pytest.mark.parametrize("site", [SiteAtOnce], indirect=True)
async def test_what_cannot_be_answered_at_once_is_left_to_a_task(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", WALL_SECONDS)  # here the caller takes what it is sent
    assert (await site.ask(WHOLE.replace(b"whole", b"broken"))).startswith(b"HTTP/1.1 200 ")
    # A caller that has not taken what it asked for before waits like any other.
    reader, writer = await site.connect(WHOLE.replace(b"whole", b"large"))
    while site.asked < 2:
        await asyncio.sleep(0.01)
    writer.write(WHOLE)
    await answer_of(reader)
    assert (await answer_of(reader)).endswith(b"xxxxx")
    assert site.in_tasks == 2
    writer.close()


@pytest.mark.parametrize("site", [SiteWhole], indirect=True)
async def test_what_waited_is_sent_whole_to_who_has_taken_everything(site: SiteWhole) -> None:
    reader, writer = await site.connect(WHOLE.replace(b"whole", b"wait"))
    site.open.set()
    first = await answer_of(reader)
    writer.write(WHOLE.replace(b"whole", b"chunks"))
    in_chunks = await reader.readuntil(b"0\r\n\r\n")
    writer.write(WHOLE.replace(b"whole", b"large"))
    while site.asked < 3:
        await asyncio.sleep(0.01)
    writer.write(WHOLE)
    await answer_of(reader)
    # A caller that had not taken what it asked for before, and one whose answer has no length, are sent messages.
    assert site.whole == 2
    assert await answer_of(reader) == first
    assert in_chunks.endswith(b"5\r\nxxxxx\r\n0\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("soft", "hard", "room", "raised_to"),
    [
        (1_024, 1_024, 768, None),
        (1_024, 2_000, 1_744, 2_000),
        (256, resource.RLIM_INFINITY, 5_000, 5_256),
        (1_024, 1_000_000, 5_000, 5_256),
        (1_000_000, 1_000_000, 5_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 5_000, None),
        (300, 300, 150, None),
    ],
)
def test_room_leaves_files_for_the_ledger_and_the_store(
    soft: int, hard: int, room: int, raised_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert room_for(5_000) == room
    assert [pair for pair in limits if pair[0] != soft] == ([(raised_to, hard)] if raised_to else [])
