"""Whether copies may be trusted: the feed of invalidations, read beside traffic (ADR 0067)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.feed import Cursor, FeedPage, Tier
    from copperplate.ports import Clock, Feed
    from copperplate.ports.tiers import Copy

logger = logging.getLogger(__name__)

# What was declared wrong reaches every process within three seconds: after a read its copies are trusted for less.
TRUST_SECONDS: Final = 2.5
# While there is traffic the feed is read this often.
READ_SECONDS: Final = 1.0
# A request waits so long for a read that is overdue, once.
WAIT_SECONDS: Final = 0.3
# The ledger counts as away for so long after it did not answer in time; by then it was asked again.
AWAY_SECONDS: Final = 5.0
# Invalidations that a process remembers; copies older than those are not trusted.
MAX_KNOWN: Final = 20_000


class Trust(Enum):
    """What copies are good for at this moment."""

    FRESH = "fresh"  # none of them is wrong for longer than three seconds
    STALE = "stale"  # the ledger does not answer; they were right when it last did
    NONE = "none"


class Coherence:
    """Reads the feed, and judges copies by it. A process has one.

    `on_page` is told of each page that was applied, after this knows of it.
    """

    def __init__(
        self, feed: Feed | None, clock: Clock, *, stale_for: timedelta, on_page: Callable[[FeedPage], None]
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._stale_seconds = stale_for.total_seconds()
        self._on_page = on_page
        self._cursor: Cursor | None = None
        self._database = ""
        # Of the newest read that was answered: when it was asked.
        self._read_at, self._read_at_wall = -math.inf, datetime.min.replace(tzinfo=UTC)
        self._failed_at, self._failed_at_wall = -math.inf, datetime.min.replace(tzinfo=UTC)
        # Transactions and tiers of invalidations, by generation (None: all).
        self._known: dict[str | None, list[tuple[int, Tier | None]]] = {}
        self._order: deque[tuple[int, str | None]] = deque()
        self._known_from = 0
        self._overdue: asyncio.Task[None] | None = None
        self._rhythm: asyncio.Task[None] | None = None
        self._has_traffic = False
        self._is_closed = False

    @property
    def cursor(self) -> Cursor | None:
        """How far this process has read; None before its first read. What a fill carries, from before it asks."""
        return self._cursor

    @property
    def database(self) -> str:
        """The id of the ledger that was read."""
        return self._database

    @property
    def is_fresh(self) -> bool:
        """Whether the feed was read lately: by both clocks, of which one stands still in a frozen process."""
        return (
            self._clock.monotonic() - self._read_at <= TRUST_SECONDS
            and (self._clock.now() - self._read_at_wall).total_seconds() <= TRUST_SECONDS
        )

    def note_traffic(self) -> None:
        """A request came: the feed is read once a second while they do."""
        self._has_traffic = True
        if self._rhythm is None and not self._is_closed:
            self._rhythm = asyncio.create_task(self._read_regularly())

    async def trust(self) -> Trust:
        """What copies are good for now. Where a read is overdue, this waits for it for at most 0.3 s."""
        self.note_traffic()
        if self.is_fresh:
            return Trust.FRESH
        if not self._is_away:
            if self._overdue is None:
                self._overdue = asyncio.create_task(self._read_overdue())
            await asyncio.wait((self._overdue,))
            if self.is_fresh:
                return Trust.FRESH
        return Trust.STALE if self._seconds_since_read <= self._stale_seconds else Trust.NONE

    def is_right(self, copy: Copy, tier: Tier) -> bool:
        """Whether no invalidation that is known makes this copy wrong, and all that could are known."""
        if self._cursor is None or copy.database != self._database or copy.cursor.xmin < self._known_from:
            return False
        return not any(
            (of is None or of is tier) and not copy.cursor.includes(transaction)
            for key in (copy.entry.generation_key, None)
            for transaction, of in self._known.get(key, ())
        )

    async def read(self) -> None:
        """Read the feed and apply what it says. Raises `LedgerUnavailable`, `LedgerMisconfigured`."""
        asked_at, asked_at_wall = self._clock.monotonic(), self._clock.now()
        assert self._feed is not None  # noqa: S101 - without a feed there are no tiers
        page = await self._feed.read_feed(self._cursor, self._database or None)
        if asked_at < self._read_at:
            return  # one that was asked later was answered first, and holds all of this
        self._apply(page)
        self._read_at, self._read_at_wall = asked_at, asked_at_wall
        self._on_page(page)

    async def close(self) -> None:
        """Read no more."""
        self._is_closed = True
        for task in (self._rhythm, self._overdue):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    @property
    def _is_away(self) -> bool:
        """Whether the ledger did not answer a moment ago, by both clocks."""
        return (
            self._clock.monotonic() - self._failed_at <= AWAY_SECONDS
            and (self._clock.now() - self._failed_at_wall).total_seconds() <= AWAY_SECONDS
        )

    @property
    def _seconds_since_read(self) -> float:
        return max(self._clock.monotonic() - self._read_at, (self._clock.now() - self._read_at_wall).total_seconds())

    def _apply(self, page: FeedPage) -> None:
        if not page.is_continued:
            self._known.clear()
            self._order.clear()
            self._known_from = page.known_from
        self._cursor, self._database = page.cursor, page.database
        for each in page.invalidations:
            known = self._known.setdefault(each.generation_key, [])
            if (each.transaction, each.tier) not in known:
                known.append((each.transaction, each.tier))
                self._order.append((each.transaction, each.generation_key))
        while len(self._order) > MAX_KNOWN:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        transaction, key = self._order.popleft()
        self._known_from = max(self._known_from, transaction + 1)
        left = [each for each in self._known[key] if each[0] != transaction]
        if left:
            self._known[key] = left
        else:
            self._known.pop(key, None)

    async def _read_overdue(self) -> None:
        """A read that requests wait for: the ledger is away where it does not answer in time."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.read()
        except (TimeoutError, CopperplateError):
            self._note_failure()
        finally:
            self._overdue = None

    async def _read_regularly(self) -> None:
        try:
            while True:
                left = READ_SECONDS - (self._clock.monotonic() - self._read_at)
                await self._clock.sleep(min(max(left, 0.05), READ_SECONDS))
                if not self._has_traffic:
                    return
                self._has_traffic = False
                try:
                    await self.read()
                except CopperplateError:
                    self._note_failure()
                    self._has_traffic = True  # until it answers, or nobody asks for a while
                    await self._clock.sleep(READ_SECONDS)
        finally:
            self._rhythm = None

    def _note_failure(self) -> None:
        if not self._is_away:
            logger.warning("the database does not answer: pictures in memory and on disk are served for a while")
        self._failed_at, self._failed_at_wall = self._clock.monotonic(), self._clock.now()
