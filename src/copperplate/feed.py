"""The feed of invalidations: which copies of pictures are declared wrong, and how far a reader has come. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Tier(StrEnum):
    """Where the bytes of an answer came from; spelled the same in SQL, logs, metrics and on the command line."""

    MEMORY = "memory"
    DISK = "disk"
    REDIS = "redis"  # the entry alone: its bytes are read from the store
    STORAGE = "storage"
    CDN = "cdn"  # copies outside of our reach
    PROVIDER = "provider"  # it was made for this request, or for one that waited with it
    NONE = "none"

    # As of `Outcome`.
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True)
class Cursor:
    """A snapshot of the ledger: which transactions had ended when it was taken (`pg_snapshot`).

    All below `xmin` had; none at or above `xmax`; of those between all but `running`. So a transaction that began
    early and commits late is seen by the first snapshot after its commit, whatever its number is.
    """

    xmin: int
    xmax: int
    running: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """As Postgres writes it, `xmin:xmax:running,running`. Raises `ValueError`."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, running.split(","))) if running else frozenset())

    def includes(self, transaction: int) -> bool:
        """Whether this transaction had ended, so that its changes were seen."""
        return transaction < self.xmin or (transaction < self.xmax and transaction not in self.running)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"


@dataclass(frozen=True, slots=True)
class Fill:
    """How far a process had read the feed, and of which ledger, before it asked for what may be kept.

    Of what it then found, an invalidation that `cursor` includes was seen by the ledger's answer. Others make it wrong.
    """

    cursor: Cursor
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidation:
    """One row of the feed: copies that are older than its transaction are wrong.

    Those of one generation, or of all where it is None; in one tier, or in every one.
    """

    transaction: int
    generation_key: str | None
    tier: Tier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """What one read of the feed answers: every invalidation that the cursor it was asked with does not include.

    `database` is the ledger's own id, which is another one after a restore. Where `is_continued` is False, the cursor
    was none, another database's, or older than the feed: then the page holds the newest invalidations, all of those by
    transactions from `known_from` on.
    """

    database: str
    cursor: Cursor
    invalidations: tuple[Invalidation, ...]
    is_continued: bool
    known_from: int = 0
    # Of these scopes (`CdnScope`) copies in CDNs wait to be purged.
    due_cdn_scopes: frozenset[str] = frozenset()
