"""Watched things: a generation or a batch that people follow. Each has one watcher in a process, whoever follows it.

The watcher asks the ledger, renders what is told once, and wakes its followers. It ends with the last of them. It
holds nothing that must survive: a follower that comes back, here or to another process, is told everything anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from copperplate.errors import CopperplateError
from copperplate.repeats import growing_pauses, nap
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Sequence

    from copperplate.ports import Clock, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is told of a watched thing. Without `is_news` it tells nothing that the view before did not.

    `changes` are for followers who were told the view before, `whole` for those who come or fell behind. Where
    `read_pages` is given the whole thing is more than a process should hold for everybody who is watched: it is read
    anew for each follower who is told it, a page at a time, and `whole` is empty. `has_end`: those who know the view
    before are told the whole as well, after the changes. Both are in pieces, each sent on its own, so that what a
    caller leaves unread stays small. `last_id` is that of the last event of a final view. `is_idle`: something is to
    be made, and nobody makes any of it. Where it is private, `owner` may follow; None where the ledger knows who may
    see a picture of that `kind`.
    """

    changes: Sequence[bytes]
    whole: Sequence[bytes] = ()
    read_pages: Callable[[], AsyncGenerator[bytes]] | None = None
    has_end: bool = False
    last_id: str
    is_news: bool
    is_final: bool
    is_idle: bool
    is_private: bool
    owner: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a watcher looks: at growing pauses that a change shortens again, and when hinted, never sooner than."""

    first_seconds: float
    factor: float
    max_seconds: float
    least_seconds: float = 0.0


class Source(Protocol):
    """Where the views of one watched thing come from. `hint` is what `Ledger.hints` is asked for."""

    hint: str
    pace: Pace

    async def look(self) -> View | None:
        """The thing as it is now; None where there is none (any more). Raises what the ledger raises."""


class Woken(Protocol):
    """A follower, as its watcher knows it."""

    def wake(self) -> None:
        """The watch has a new view, or is over."""


class Watch:
    """One watched thing. `version` counts its views; `is_over`: none will follow.

    `idle_since` is the moment of the event loop since when nobody makes what it waits for; None while somebody does.
    """

    __slots__ = (
        *("_clock", "_ready", "_source", "_task", "followers", "idle_since", "is_over", "users", "version", "view"),
    )

    def __init__(self, source: Source, ledger: Ledger, clock: Clock) -> None:
        self.followers: dict[Woken, None] = {}
        self.view: View | None = None
        self.version = 0
        self.idle_since: float | None = None
        self.is_over = False
        self.users = 0
        self._clock = clock
        self._source = source
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ledger))

    async def first(self) -> View | None:
        """The newest view, as soon as there is one; None where there is no such thing. Raises what looking raised."""
        if not self._ready.done():
            await asyncio.wait((self._ready,))  # a follower that goes must not cancel it for the others
        self._ready.result()
        return self.view

    def close(self) -> None:
        """Nobody follows any more."""
        self._task.cancel()
        self._ready.cancel()

    def end(self) -> None:
        """Followers are sent away once they were told what is known."""
        self.is_over = True
        for follower in tuple(self.followers):
            follower.wake()

    async def _run(self, ledger: Ledger) -> None:
        # Subscribe before the first look, so that no change is missed.
        with ledger.hints(self._source.hint) as hint:
            try:
                self._show(await self._source.look())
            except Exception as error:  # noqa: BLE001 - whoever waits for the first view raises it
                self._ready.set_exception(error)
                self._ready.exception()  # retrieved, or asyncio warns: they may have left
                return
            self._ready.set_result(None)
            try:
                await self._watch(hint)
            except Exception as error:  # noqa: BLE001 - nobody awaits this task
                log_unexpected(error, "a watcher")
        self.end()

    async def _watch(self, hint: asyncio.Event) -> None:
        pace = self._source.pace
        pauses = self._pauses()
        while not self.is_over:
            await self._clock.sleep(pace.least_seconds)
            await nap(self._clock, next(pauses) - pace.least_seconds, hint)
            # An outage of the ledger is not the end: followers are kept by comments.
            with contextlib.suppress(CopperplateError):
                if self._show(await self._source.look()):
                    pauses = self._pauses()

    def _pauses(self) -> Iterator[float]:
        pace = self._source.pace
        return growing_pauses(pace.first_seconds, factor=pace.factor, max_seconds=pace.max_seconds)

    def _show(self, view: View | None) -> bool:
        """Wake the followers if there is something new; whether there is."""
        if view is None or view.is_final:
            self.is_over = True
        if view is None:
            return False
        # A leader that dies changes nothing that is told.
        self.idle_since = (self.idle_since or asyncio.get_running_loop().time()) if view.is_idle else None
        if not view.is_news:
            return False
        self.view = view
        self.version += 1
        for follower in tuple(self.followers):
            follower.wake()
        return True


class Watches:
    """Every watch of a process, by what is watched."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._watches: dict[Hashable, Watch] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """How many things are watched."""
        return len(self._watches)

    def join(self, thing: Hashable, make_source: Callable[[], Source]) -> Watch:
        """The watch of a thing, begun if there is none. Whoever joins leaves."""
        watch = self._watches.get(thing)
        if watch is None or watch.is_over:
            watch = self._watches[thing] = Watch(make_source(), self._ledger, self._clock)
            watch.is_over = self._is_closed
        watch.users += 1
        return watch

    def leave(self, thing: Hashable, watch: Watch) -> None:
        """The last to leave ends the watch."""
        watch.users -= 1
        if watch.users:
            return
        watch.close()
        if self._watches.get(thing) is watch:
            del self._watches[thing]

    def close(self) -> None:
        """The process ends: its followers are sent to another one."""
        self._is_closed = True
        for watch in self._watches.values():
            watch.end()
