"""The ledger's feed in a history: transactions that commit late, rows that are forgotten, restores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from uuid import UUID

from copperplate.feed import Cursor, FeedPage

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from copperplate.feed import Invalidation
    from tests.simulation.ports import WatchedLedger


class SimulatedFeed:
    """What `read_feed` answers of the rows that the ledger in memory writes.

    A first read is told of few rows only and rows are forgotten early, so that all of that happens within a minute.
    """

    def __init__(self, ledger: WatchedLedger, source: random.Random, now: Callable[[], float]) -> None:
        self._ledger = ledger
        self._random = source
        self._now = now
        self._rows: list[tuple[float, Invalidation]] = []
        self._running: set[int] = set()
        self._forgotten = 0
        self._newest = source.choice((1, 3, 1_000))
        self._kept_seconds = source.choice((5.0, 30.0, math.inf))
        self.database = self._draw_id()

    def begin(self) -> int:
        """A transaction that takes its number now and commits later."""
        transaction = self._take()
        self._running.add(transaction)
        return transaction

    def is_running(self, transaction: int) -> bool:
        """Whether it may still commit: a restore ends all that run."""
        return transaction in self._running

    def commit(self, transaction: int, act: Callable[[], None]) -> None:
        """Let `act` happen now, under the number that was taken long ago."""
        self._collect()
        newest, self._ledger._next_transaction = self._ledger._next_transaction, transaction
        act()
        self._ledger._next_transaction = newest
        self._running.discard(transaction)
        self._collect()

    def restore(self, act: Callable[[], None]) -> None:
        """The ledger becomes an older one: `act` takes away what was made since, and nothing tells of that."""
        self._collect()
        rows, newest = list(self._rows), self._ledger._next_transaction
        act()
        self._ledger._invalidations.clear()
        self._rows = rows[: self._random.randint(0, len(rows))]
        oldest = max((row.transaction for _, row in self._rows), default=0) + 1
        self._ledger._next_transaction = self._random.choice((oldest, newest, newest + 50))
        self._running.clear()
        self.database = self._draw_id()

    def read(self, since: Cursor | None, database: str | None) -> FeedPage:
        """See `Feed.read_feed`."""
        self._collect()
        self._forget()
        self._take()  # whoever writes meanwhile
        following = self._ledger._next_transaction
        cursor = Cursor(min(self._running, default=following), following, frozenset(self._running))
        rows = sorted((row for _, row in self._rows), key=lambda row: row.transaction)
        if since is not None and database == self.database and self._forgotten < since.xmin <= following:
            missed = tuple(row for row in rows if not since.includes(row.transaction))
            return FeedPage(database=self.database, cursor=cursor, invalidations=missed, is_continued=True)
        known_from = self._forgotten + 1
        if len(rows) > self._newest:
            known_from = rows[-self._newest].transaction
        return FeedPage(
            database=self.database,
            cursor=cursor,
            invalidations=tuple(row for row in rows if row.transaction >= known_from),
            is_continued=False,
            known_from=known_from,
        )

    def _take(self) -> int:
        transaction = self._ledger._next_transaction
        self._ledger._next_transaction += 1
        return transaction

    def _collect(self) -> None:
        self._rows += [(self._now(), row) for row in self._ledger._invalidations]
        self._ledger._invalidations.clear()

    def _forget(self) -> None:
        horizon = self._now() - self._kept_seconds
        old = [row.transaction for at, row in self._rows if at < horizon]
        self._forgotten = max((self._forgotten, *old))
        self._rows = [(at, row) for at, row in self._rows if at >= horizon]

    def _draw_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128)))
