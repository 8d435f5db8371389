"""Tiers: copies of kept pictures, nearer than the ledger and the store."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, Self

from copperplate.feed import Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from copperplate.feed import Cursor
    from copperplate.model import Entry, PictureRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of an entry and, where its tier keeps bytes, of them, verified against the entry's digest.

    It is right as far as `cursor` of `database` goes: an invalidation that the cursor does not include makes it wrong.
    """

    entry: Entry
    cursor: Cursor
    database: str
    body: bytes | None = field(default=None, repr=False)


class HotCopy:
    """A copy without its bytes that a tier shows again and again, as long as it has it.

    `answers` is for whoever sends it, who alone reads and writes it.
    """

    __slots__ = ("answers", "copy")

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.answers: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFigures:
    """What one process knows of a tier: entries, their bytes, and the age of the oldest in seconds (None: unknown).

    `place` names the folder or the server of a shared tier, the same for all processes that share it; empty where the
    tier is the process's own. It says nothing else: no path, no address.
    """

    tier: Tier
    entries: int
    bytes: int
    oldest_seconds: float | None
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSums:
    """What is in a tier over all `places`: processes, or the folders and servers that they share.

    `oldest_seconds` is the age of the oldest copy, None where there is none. `hits_today` and `served_bytes_today`
    count the hits, stale ones included, that it answered today (UTC). Of storage: pictures kept, all bytes, no age.
    """

    tier: Tier
    places: int
    entries: int
    bytes: int
    oldest_seconds: float | None
    hits_today: int
    served_bytes_today: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """A row of `read_tiers()`."""
        values = {column.name: row[column.name] for column in fields(cls)}
        return cls(**{**values, "tier": Tier(row["tier"])})


class TierReports(Protocol):
    """What processes report of their tiers. For people: nothing is decided by it. Raises as `Ledger` does."""

    async def report_tiers(self, process: UUID, figures: Sequence[TierFigures]) -> None:
        """Note what is in the tiers of a process, in place of its last report. It is forgotten after five minutes.

        Of figures with the same `place` one counts, whoever reports them.
        """

    async def read_tiers(self) -> Sequence[TierSums]:
        """Memory, disk, Redis and storage, in this order: what is in them now, and what they answered today."""


class CopyTier(Protocol):
    """A tier on disk or in Redis, bounded, shared by processes. Nothing here raises or takes long: it answers None.

    A copy that it finds is what was kept, byte for byte; whether it is still right is the caller's to judge.
    """

    tier: Tier

    async def find(self, key: str, database: str) -> Copy | None:
        """The copy of the rendition with that key, kept for this database."""

    def find_quickly(self, key: str, database: str) -> tuple[HotCopy, bytes] | None:
        """The same with its bytes, where nothing has to be waited for; None where `find` may know more."""

    async def keep(self, copy: Copy, request: PictureRequest) -> None:
        """Keep a copy of what `request` asked for, in place of an older one."""

    async def drop(self, key: str) -> None:
        """Forget the copy of that rendition."""

    async def remove_wrong(self, database: str, is_right: Callable[[Copy], bool]) -> bool:
        """Look through all copies that were kept for this database and remove those that are not right.

        They are shown to `is_right` without their bytes. Answers whether every one was seen, and none may be added of
        what was kept before. Where copies end by themselves within hours this may do nothing.
        """

    async def figures(self) -> TierFigures | None:
        """What is in it; None where it cannot say."""

    async def close(self) -> None:
        """Let go of files and connections."""
