"""Connections of one server process, bounded in number and in time. Needs the extra `server`.

A caller has ten seconds to send a request's head and twelve more for its body. Where a process holds as many
connections as it may, the one that has kept it waiting longest is closed for a new one. So callers that send half a
request, or read nothing, take no descriptor from the ledger, the store, or other callers.

A connection counts until it is lost: the transport's `close` first sends what is left, and waits for that without
end. So `close` is called only where the caller has taken everything; otherwise the time limit of an unread answer
holds, and then `abort`.
"""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from copperplate.http.followers import ABORT
from copperplate.http.problems import Problem
from copperplate.http.raw_headers import lines_of
from copperplate.http.server.open_files import DOCS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from copperplate.http.answers import Answer

logger = logging.getLogger(__name__)

HEAD_SECONDS: Final = 10.0
# `bodies` answers with an error after ten seconds.
BODY_SECONDS: Final = 12.0
HEAD_BYTES: Final = 64 * 1024
# How long the bytes of an answer may lie unsent while the caller takes none of them.
UNREAD_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 1.0
# A look this much later than due: the process stood still, and what arrived meanwhile is not read yet.
LATE_SECONDS: Final = 2.0
LAST_LOOK_SECONDS: Final = 0.1
# A caller that sends at all has sent its head by then.
FRESH_SECONDS: Final = 1.0
SAY_SECONDS: Final = 10.0


def _last(status: int, code: str, title: str, **headers: str) -> Problem:
    return Problem.render(status, code, title, "", {"connection": "close", **headers})


REQUEST_TIMEOUT: Final = _last(408, "request_timeout", "The request did not arrive in time")
HEAD_TOO_LARGE: Final = _last(431, "head_too_large", "The request's head is too large")
TOO_MANY_CONNECTIONS: Final = _last(
    503, "too_many_connections", "The server holds as many connections as it can", **{"retry-after": "1"}
)


class Connections:
    """Every connection of a process: which are sending a request, and which are idle after an answer."""

    def __init__(self, *, most: int) -> None:
        self.most = most
        self._open: set[Connection] = set()
        # Both in the order of entering.
        self._receiving: dict[Connection, float] = {}
        self._idle: dict[Connection, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look_at = 0.0
        self._say_at = 0.0
        self._refused = self._displaced = self._late = 0

    def admit(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> bool:
        """Count a new connection; False where there is no room and none can be made."""
        if self._loop is None:
            self._loop = loop
            self._wait_for_look()
        if len(self._open) >= self.most and not self._make_room():
            self._refused += 1
            return False
        self._open.add(connection)
        self.receive(connection)
        return True

    def receive(self, connection: Connection) -> None:
        """The head of a request is to arrive."""
        self._await(connection, HEAD_SECONDS)

    def received(self, connection: Connection) -> None:
        """The request is whole: from here on the caller waits for us."""
        self._receiving.pop(connection, None)

    def rest(self, connection: Connection) -> None:
        """The answer is given; the caller may send another request, or not."""
        self._receiving.pop(connection, None)
        self._idle[connection] = None

    def leave(self, connection: Connection) -> None:
        """The connection is about to be closed: it is judged no more, but holds its file until it is lost."""
        self._receiving.pop(connection, None)
        self._idle.pop(connection, None)

    def forget(self, connection: Connection) -> None:
        """The connection is lost, and its file is free."""
        self.leave(connection)
        self._open.discard(connection)

    def is_receiving(self, connection: Connection) -> bool:
        """Whether a part of a request is still to come."""
        return connection in self._receiving

    def is_idle(self, connection: Connection) -> bool:
        """Whether nothing is asked."""
        return connection in self._idle

    def _await(self, connection: Connection, seconds: float) -> None:
        self._idle.pop(connection, None)
        self._receiving.pop(connection, None)
        self._receiving[connection] = self._now() + seconds

    def _make_room(self) -> bool:
        # Closing one that has not taken its answer frees no place at once.
        waiting = next((connection for connection in self._receiving if connection.has_sent_all), None)
        is_fresh = waiting is not None and self._receiving[waiting] > self._now() + HEAD_SECONDS - FRESH_SECONDS
        idle = next((connection for connection in self._idle if connection.has_sent_all), None)
        # First a late head; then an idle connection, whose client can open another; last a head that has just begun.
        victim = waiting if waiting is not None and not (is_fresh and idle is not None) else idle
        if victim is None:
            return False
        self._displaced += 1
        self.leave(victim)
        victim.transport.close()
        return True

    def _wait_for_look(self) -> None:
        assert self._loop is not None  # noqa: S101 - `admit` has set it
        self._look_at = self._now() + LOOK_SECONDS
        self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Close what is overdue, and say what was closed."""
        late_seconds = self._now() - self._look_at
        if late_seconds > LATE_SECONDS:
            self._receiving = {connection: due + late_seconds for connection, due in self._receiving.items()}
        now = self._now()
        for connection in [connection for connection, due in self._receiving.items() if due <= now]:
            self._hurry(connection)
        for connection in tuple(self._open):
            if connection.is_stuck():
                self._late += 1
                self.leave(connection)
                connection.transport.abort()
        self._say(now)
        self._wait_for_look()

    def _hurry(self, connection: Connection) -> None:
        if connection.has_head and not connection.was_hurried:
            self._await(connection, BODY_SECONDS)
            connection.was_hurried = True
        elif connection.flow.read_paused or not connection.has_sent_all:
            # We take nothing from it; or it still takes an earlier answer, whose time limit is `is_stuck`.
            self.receive(connection)
        else:
            self._late += 1
            self.leave(connection)
            connection.end_late()

    def _say(self, now: float) -> None:
        if now < self._say_at or not (self._refused or self._displaced or self._late):
            return
        if self._refused or self._displaced:
            logger.warning(
                "%d connections are open, the bound of this process: turned away %d, closed %d that were idle or had "
                "sent half a request; see %s",
                *(self.most, self._refused, self._displaced, DOCS),
            )
        if self._late:
            logger.info("closed %d connections that sent no whole request, or read no answer, in time", self._late)
        self._say_at = now + SAY_SECONDS
        self._refused = self._displaced = self._late = 0

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()


class Connection(HttpToolsProtocol):
    """uvicorn's connection, reporting to `Connections` what it is doing."""

    # In a dictionary beside uvicorn's own they would be too many for keys shared by all: 1.4 kB a connection.
    __slots__ = (
        *("_all", "_due", "_head_bytes", "_is_amid", "_is_piece_shared", "_piece_bytes", "_unsent"),
        *("_is_at_head", "has_head", "was_hurried"),
    )

    def __init__(self, *arguments: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._all = connections
        # Bytes of the head that arrives, as far as they are known, and of the piece in which it arrives.
        self._head_bytes = self._piece_bytes = 0
        # Whether a message has begun and is not complete, and whether one was completed in this piece.
        self._is_amid = self._is_piece_shared = False
        # Requests with a head and without a whole answer.
        self._due = 0
        self._unsent = (0, self.loop.time())
        self.has_head = False
        self.was_hurried = False
        # Whether a head was completed just now: what was kept waiting behind another answer is answered by a task.
        self._is_at_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, or turn it away."""
        super().connection_made(transport)
        if not self._all.admit(self, self.loop):
            self._answer(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._all.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request; a head that does not end is refused."""
        if self._all.is_idle(self):
            self._all.receive(self)
        self._piece_bytes = len(data)
        self._is_piece_shared = False
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_amid and not self.has_head and self._head_bytes > HEAD_BYTES:
            if self._is_awaited:
                self.flow.pause_reading()  # an answer is not interrupted: refused after it
            else:
                self._refuse_head()

    def on_message_begin(self) -> None:
        """See `HttpToolsProtocol`."""
        super().on_message_begin()
        self.scope[ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        self._is_amid = True
        # After another request in the same piece its start is unknown: `on_headers_complete` counts exactly.
        self._head_bytes = 0 if self._is_piece_shared else self._piece_bytes
        self.has_head = self.was_hurried = False
        if not self._is_awaited and not self._all.is_receiving(self):
            self._all.receive(self)

    def on_headers_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self.has_head = True
        if self._head_bytes + self._piece_bytes > HEAD_BYTES and self._size_of_head() > HEAD_BYTES:
            self.app = answer_too_large
        # Before it is answered, which may be at once.
        self._due += 1
        self._is_at_head = True
        super().on_headers_complete()
        self._is_at_head = False

    def on_message_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._is_amid = self.has_head = False
        self._is_piece_shared = True
        if self._due:
            self._all.received(self)
        elif self.timeout_keep_alive_task is not None:  # answered at once, and uvicorn closes it when nothing follows
            self._all.rest(self)
        else:  # answered before its body was whole: the next head has its own time
            self._all.receive(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        super().on_response_complete()
        self._due -= 1
        if self._is_awaited or self.transport.is_closing():
            return
        if not self._is_amid:
            self._all.rest(self)
            return
        # The next request has begun already; its time begins now.
        if not self._all.is_receiving(self):
            self._all.receive(self)
        if not self.has_head:
            self._unset_keepalive_if_required()
            if self._head_bytes > HEAD_BYTES:
                self._refuse_head()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer at once what waits for nothing, to a caller who has taken everything before it: else a task does."""
        answer = None
        find_answer = getattr(app, "find_answer", None) if self._is_at_head else None
        if find_answer is not None and self.has_sent_all:
            # What goes wrong here goes wrong in the task, too, which tells.
            with contextlib.suppress(Exception):
                found = find_answer(cycle.scope)
                if found is None:
                    app = partial(_pass_on, app.pass_on, Reply(self, cycle))
                elif found.head:
                    answer = found
        if answer is None:
            # It runs since the answer before, which may have been sent at once.
            self._unset_keepalive_if_required()
            super()._start_asgi_task(cycle, app)
        else:
            self.send_whole(cycle, answer, answer.body)

    def send_whole(self, cycle: RequestResponseCycle, answer: Answer, body: bytes) -> None:
        """Send a whole answer, and take the request for answered, as the cycle would."""
        ending = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.writelines(
            (STATUS_LINE[answer.status], lines_of(cycle.default_headers), answer.head, ending, body)
        )
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request came while this process stood still and is not read yet."""
        close = super().timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(LAST_LOOK_SECONDS, close)

    @property
    def has_sent_all(self) -> bool:
        """Whether the caller has taken what was answered so far."""
        return self.transport.get_write_buffer_size() == 0

    def is_stuck(self) -> bool:
        """Whether the caller has read nothing of an answer for a minute."""
        unsent, now = self.transport.get_write_buffer_size(), self.loop.time()
        # Another answer makes it more; only the caller makes it less.
        has_taken = unsent == 0 or unsent < self._unsent[0]
        self._unsent = (unsent, now if has_taken else self._unsent[1])
        return now - self._unsent[1] > UNREAD_SECONDS

    def end_late(self) -> None:
        """Close, and answer 408 where a part of a head has come."""
        if self._is_amid and not self.has_head:
            self._answer(REQUEST_TIMEOUT)
        else:
            self.transport.close()

    @property
    def _is_awaited(self) -> bool:
        """Whether the caller waits for an answer to a whole request."""
        return self._due > (self._is_amid and self.has_head)

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self._all.leave(self)
            self._answer(HEAD_TOO_LARGE)

    def _unsupported_upgrade_warning(self) -> None:
        """Without a word: the request is answered as if it asked for no other protocol (RFC 9110, 7.8)."""

    def _answer(self, problem: Problem) -> None:
        lines = [b"HTTP/1.1 %d " % problem.status, *(b"%s: %s" % header for header in problem.raw_headers())]
        self.transport.write(b"\r\n".join((*lines, b"", problem.body)))
        self.transport.close()


class Reply:
    """`send` of ASGI for one request. Messages are for the cycle; a whole answer goes to the connection."""

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send one message."""
        return self._cycle.send(cast("Any", message))

    def send_whole(self, answer: Answer, body: bytes) -> bool:
        """Send all of it at once, if it may be sent so. Its caller had taken all that was sent before it asked."""
        if self._cycle.disconnected or not answer.head:
            return False
        self._connection.send_whole(self._cycle, answer, body)
        return True


def _pass_on(pass_on: ASGIApp, reply: Reply, scope: Scope, receive: Receive, _send: Send) -> Awaitable[None]:
    return pass_on(scope, receive, reply)


async def answer_too_large(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The application of a request whose head is whole, and too large."""
    await HEAD_TOO_LARGE.send(send)


def protocol(connections: Connections) -> type[asyncio.Protocol]:
    """What uvicorn makes a connection with; each process gets `connections` of its own, as it was before any."""
    return cast("type[asyncio.Protocol]", partial(Connection, connections=connections))
