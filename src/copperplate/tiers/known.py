"""Which invalidations a process knows of, and what is right by them. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from copperplate.feed import Cursor, FeedPage, Fill, Tier

# Invalidations that a process remembers; of those before them it knows nothing.
MAX_KNOWN: Final = 20_000


class KnownInvalidations:
    """The pages that were read, put together.

    It knows all invalidations by transactions from `known_from` on, and all of those that `continued_from` does not
    include, whatever their numbers are: every page since then continued the one before it.
    """

    def __init__(self) -> None:
        self.cursor: Cursor | None = None
        self.database = ""
        self._known_from = 0
        self._continued_from: Cursor | None = None
        # Transactions, with the tier they name, by generation (None: all).
        self._known: dict[str | None, set[tuple[int, Tier | None]]] = {}
        self._order: deque[tuple[str | None, tuple[int, Tier | None]]] = deque()

    def apply(self, page: FeedPage) -> None:
        """Add what a page says; one that does not continue replaces all before it."""
        if not page.is_continued:
            self._known.clear()
            self._order.clear()
            self._known_from, self._continued_from = page.known_from, page.cursor
        self.cursor, self.database = page.cursor, page.database
        for each in page.invalidations:
            named = (each.transaction, each.tier)
            known = self._known.setdefault(each.generation_key, set())
            if named not in known:
                known.add(named)
                self._order.append((each.generation_key, named))
        while len(self._order) > MAX_KNOWN:
            self._forget_oldest()

    def is_right(self, generation_key: str, fill: Fill, tier: Tier) -> bool:
        """Whether nothing that was read declares wrong what was found by `fill`, and all that could do so is known.

        A transaction that `fill` does not include and that commits later makes it wrong then.
        """
        if fill.database != self.database or not self._knows_all_since(fill.cursor):
            return False
        return not self.is_named(generation_key, fill, tier)

    def is_wrong(self, generation_key: str, fill: Fill, tier: Tier) -> bool:
        """Whether what was read declares it wrong: then it is for every process. Not of what cannot be judged."""
        return fill.database == self.database and self.is_named(generation_key, fill, tier)

    def is_named(self, generation_key: str, fill: Fill | None, tier: Tier) -> bool:
        """Whether an invalidation that is known declares wrong what was found by `fill`; None: found at any time."""
        return any(
            (of is None or of is tier) and (fill is None or not fill.cursor.includes(transaction))
            for key in (generation_key, None)
            for transaction, of in self._known.get(key, ())
        )

    def _knows_all_since(self, cursor: Cursor) -> bool:
        """Whether every invalidation that this cursor does not include, and that was read since, is known."""
        if self._continued_from is None or cursor.xmax < self._known_from:
            return False
        return all(
            transaction >= self._known_from or not self._continued_from.includes(transaction)
            for transaction in cursor.running
        )

    def _forget_oldest(self) -> None:
        key, named = self._order.popleft()
        self._known[key].discard(named)
        if not self._known[key]:
            del self._known[key]
        self._known_from = max(self._known_from, named[0] + 1)
        # What this does not include will still be read.
        self._continued_from = self.cursor
