"""Followers of streams: each is one caller of `/events`, held by as little as will do.

A follower's task waits in `receive` until its caller goes. Its watch wakes it for a new view; a task that lives as
long as one send tells it. One timer for all followers of a process sends comments and ends what is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from copperplate.denials import TooManyStreams, TooManyStreamsOfAddress
from copperplate.errors import CopperplateError
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

    from starlette.types import Receive, Send

    from copperplate.http.raw_headers import RawHeaders
    from copperplate.serving.watches import View, Watch

COMMENT: Final = b":\n\n"
# Pages of batches that callers of this process are being sent.
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
# In the scope of our own server: closes the connection at once, although not everything was taken from it.
ABORT: Final = "copperplate.abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """Seconds of a stream: between comments, at most for one send, and in all; `tick` is how exact they are."""

    comment: float = 15.0
    send: float = 15.0
    life: float = 240.0
    tick: float = 1.0


class Follower:
    """One caller of a stream.

    Its answer ends after `life_seconds`, or where nobody makes what is watched for `idle_seconds`. `abort` closes its
    connection, where the server can.
    """

    __slots__ = (
        *("_abort", "_all", "_ends_at", "_idle_seconds", "_is_over", "_is_stuck", "_send", "_sending", "_since"),
        *("_task", "_told", "_watch"),
    )

    def __init__(
        self,
        followers: Followers,
        watch: Watch,
        send: Send,
        *,
        life_seconds: float,
        idle_seconds: float,
        abort: Callable[[], None] | None,
    ) -> None:
        self._all = followers
        self._watch = watch
        self._send = send
        self._abort = abort
        self._task = asyncio.current_task()
        self._sending: asyncio.Task[None] | None = None
        # The version of the watch that it was told.
        self._told = 0
        # Since when it is sent something, or was sent nothing.
        self._since = asyncio.get_running_loop().time()
        self._ends_at = self._since + life_seconds
        self._idle_seconds = idle_seconds
        self._is_over = self._is_stuck = False

    async def run(self, headers: RawHeaders, receive: Receive) -> None:
        """Answer: the view there is, and what follows, until the caller goes, the watch is over, or the time is."""
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._watch.followers[self] = None
        self._all.add(self)
        self.wake()
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            # `end` cancels this wait; anybody else may at the same time.
            if not self._is_over or self._task is None or self._task.uncancel():
                raise
        finally:
            self._all.discard(self)
            del self._watch.followers[self]
            if self._sending is not None:
                self._sending.cancel()
        await self._leave(receive)

    async def _leave(self, receive: Receive) -> None:
        """End the answer, or the connection of a caller that does not take it."""
        if not self._is_stuck:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._all.times.send):
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        if self._abort is not None:
            self._abort()
            # Until the server has closed it, an answer that is not complete counts as a fault of ours.
            while (await receive())["type"] != "http.disconnect":
                pass

    def wake(self) -> None:
        """See `Woken.wake`."""
        if self._sending is None and (self._told != self._watch.version or self._watch.is_over):
            self._begin(b"")

    def end(self, *, is_stuck: bool = False) -> None:
        """The stream is over; what was begun is not sent to its end."""
        if not self._is_over and self._task is not None:
            self._is_over, self._is_stuck = True, is_stuck
            self._task.cancel()

    def look(self, now: float, times: StreamTimes) -> None:
        """Do what is due."""
        if self._sending is not None:
            if now - self._since >= times.send:
                self.end(is_stuck=True)
        elif now >= self._ends_at or self._is_idle_too_long(now):
            self.end()
        elif now - self._since >= times.comment:
            self._begin(COMMENT)

    def _is_idle_too_long(self, now: float) -> bool:
        idle_since = self._watch.idle_since
        return idle_since is not None and now - idle_since >= self._idle_seconds

    def _begin(self, first: bytes) -> None:
        self._since = asyncio.get_running_loop().time()
        telling = self._tell(first)
        if self._needs_pages():
            # What reads the ledger has timeouts of its own, which need a task from their beginning.
            self._sending = asyncio.create_task(telling)
            return
        try:
            # Most sends end without a wait: a task for each would cost more than the send does.
            waits_for = telling.send(None)
        except StopIteration:
            return
        self._sending = asyncio.create_task(_finish(_Begun(telling, waits_for)))

    async def _tell(self, first: bytes) -> None:
        """Send what comes first and what this follower was not told yet; end with the watch.

        Raises nothing: the timer and the watcher, which serve all followers, begin this.
        """
        try:
            if first:
                await self._send_piece(first)
            while self._told != self._watch.version and (view := self._watch.view) is not None:
                knows_last = self._knows_last()
                self._told = self._watch.version
                await self._tell_view(view, knows_last=knows_last)
        except OSError:
            pass  # some servers raise it when the caller has disconnected
        except CopperplateError:
            self.end()  # the client comes back, and is told everything anew
        except Exception as error:  # noqa: BLE001 - others follow as well
            self._all.log_failure(error)
            self.end(is_stuck=True)
        self._sending = None
        if self._watch.is_over:
            self.end()

    async def _tell_view(self, view: View, *, knows_last: bool) -> None:
        for piece in view.changes if knows_last else view.whole:
            await self._send_piece(piece)
        if view.read_pages is not None and (view.has_end or not knows_last):
            async with contextlib.aclosing(view.read_pages()) as pages:
                async for page in pages:
                    with self._all.holding(len(page)):
                        await self._send_piece(page)

    def _knows_last(self) -> bool:
        return self._told > 0 and self._told == self._watch.version - 1

    def _needs_pages(self) -> bool:
        view = self._watch.view
        if view is None or view.read_pages is None or self._told == self._watch.version:
            return False
        return view.has_end or not self._knows_last()

    async def _send_piece(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self._since = asyncio.get_running_loop().time()


class _Begun:
    """What is left of a coroutine that was begun outside of a task, and waits for something."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waits_for
            yield from self._coroutine.__await__()
        finally:
            self._coroutine.close()


async def _finish(begun: _Begun) -> None:
    await begun


class Followers:
    """All followers of a process: how many there may be, and the one timer."""

    def __init__(self, times: StreamTimes | None = None) -> None:
        self.times = times or StreamTimes()
        self._followers: dict[Follower, None] = {}
        self._addresses: Counter[str] = Counter()
        self._places = 0
        self._ticking: asyncio.Task[None] | None = None
        self._has_logged = False
        self._held_bytes = 0

    def __len__(self) -> int:
        """How many places are taken."""
        return self._places

    def enter(self, address: str, *, most: int, most_of_address: int) -> None:
        """Take a place, to be given back by `leave`. Raises `TooManyStreams` and `TooManyStreamsOfAddress`."""
        if self._places >= most:
            raise TooManyStreams
        if self._addresses[address] >= most_of_address:
            raise TooManyStreamsOfAddress(most_of_address)
        self._places += 1
        self._addresses[address] += 1

    def leave(self, address: str) -> None:
        """Give a place back."""
        self._places -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def add(self, follower: Follower) -> None:
        """From now on the timer looks after this follower."""
        self._followers[follower] = None
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())

    def discard(self, follower: Follower) -> None:
        """The timer ends with the last of them."""
        del self._followers[follower]
        if not self._followers and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold a page of so many bytes until its caller has taken it.

        Raises `TooManyStreams` where too many are held: callers that read nothing must not take all memory.
        """
        if self._held_bytes and self._held_bytes + size > MAX_HELD_BYTES:
            raise TooManyStreams
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    def log_failure(self, error: Exception) -> None:
        """Log what a send raised, once in a process: it is the server's fault, and comes with every send."""
        if not self._has_logged:
            self._has_logged = True
            log_unexpected(error, "a stream")

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.times.tick)
            now = loop.time()
            for follower in tuple(self._followers):
                follower.look(now, self.times)
