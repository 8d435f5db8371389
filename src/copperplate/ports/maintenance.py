"""What operators and the cron remove from the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from copperplate.feed import Tier
from copperplate.ports.ledger import Sweeper

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import timedelta

    from copperplate.model import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupCounts:
    """What a cleanup of one kind removed and archived, or would; `reached` is where the next call goes on."""

    pictures: int
    generations: int
    size_bytes: int
    archived: int
    reached: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CleanupCounts:
        """The answer of `cleanup_entries` or `count_old_entries`."""
        return cls(
            pictures=row["pictures"],
            generations=row["generations"],
            size_bytes=row["bytes"],
            archived=row["archived"],
            reached=row.get("reached"),
        )


class DiscardedObject(NamedTuple):
    """An object whose grace is over, claimed to be removed from its store."""

    id: int
    bucket: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedNode:
    """A generation that a purge with children removes, or that one of these was made from."""

    key: str
    kind: str
    operation: str | None
    parent_key: str | None
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What a purge removed; a dry run has counts alone. `objects` are pairs of bucket and path.

    `pinned` counts the generations that met the condition and were left, as they are pinned. `children` counts what was
    made from those that are removed, in any number of steps: removed with them where that was asked, else left; only a
    dry run counts those that are left. `tree` has the first of them and what they were made from.
    """

    generations: int
    images: int  # that people are shown
    size_bytes: int
    keys: Sequence[str] = ()
    objects: Sequence[tuple[str, str]] = ()
    pinned: int = 0
    children: int = 0
    pinned_children: int = 0  # that were left
    has_more: bool = False  # there is more than `limit` allows
    tree: Sequence[PurgedNode] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Purged:
        """The answer of `purge_entries`."""
        return cls(
            generations=row["generations"],
            images=row["images"],
            size_bytes=row["bytes"],
            keys=tuple(row.get("keys", ())),
            objects=tuple((bucket, path) for bucket, path in row.get("objects", ())),
            pinned=row["pinned"],
            children=row["children"],
            pinned_children=row["pinned_children"],
            has_more=row["has_more"],
            tree=tuple(PurgedNode(**node) for node in row.get("tree", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCopies:
    """All copies in a tier, as processes reported them; `seconds_ago` is the age of the oldest report.

    `places` are processes, or the folders and servers that they share.
    """

    places: int
    entries: int
    bytes: int
    seconds_ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgedCopies:
    """What the ledger has of pictures whose copies are declared wrong: as much as a tier may have of them.

    Generations, entries and bytes of public kinds; `objects` of every kind. `generation_keys` is None for all.
    `reported` is what processes have of everything, by tier; without those that none reported lately.
    """

    generations: int
    entries: int
    size_bytes: int
    objects: int
    generation_keys: tuple[str, ...] | None
    reported: Mapping[Tier, ReportedCopies]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PurgedCopies:
        """The answer of `purge_copies`."""
        return cls(
            generations=row["generations"],
            entries=row["entries"],
            size_bytes=row["bytes"],
            objects=row["objects"],
            generation_keys=None if row["keys"] is None else tuple(row["keys"]),
            reported={Tier(tier): ReportedCopies(**figures) for tier, figures in row["reported"].items()},
        )


class Maintenance(Sweeper, Protocol):
    """What operators and the cron remove from the ledger. Every call is bounded by `limit` rows.

    Of what is pinned no cleanup removes or counts anything.
    """

    async def cleanup_entries(
        self, kind: str, limit: int, *, older_than: timedelta | None = None, after: str | None = None
    ) -> CleanupCounts:
        """Archive what is much used of a kind and remove what is old, by its rules; `older_than` replaces its age.

        With `after`, empty at first, at most `limit` entries are looked at from that place on, and `reached` is where
        the next call goes on, None at the end: entries in use are then looked at once, not by every call.
        """

    async def count_old_entries(self, kind: str, *, older_than: timedelta | None = None) -> CleanupCounts:
        """What `cleanup_entries` would do in all, as the same counts; changes nothing."""

    async def cleanup_generations(self, limit: int) -> int:
        """Remove `generation_status` rows that nothing needs; answers how many."""

    async def claim_discarded(self, limit: int) -> Sequence[DiscardedObject]:
        """Objects whose grace is over, reserved for this caller for some minutes."""

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """The objects are removed from the store; answers how many rows went."""

    async def claim_audit(self, bucket: str) -> str | None:
        """Where the search for forgotten objects of a bucket goes on (empty: from the beginning).

        Reserved for this caller for a minute; None while somebody else is at it.
        """

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """Discard those of `paths` that nothing names, and note how far the search has come; answers how many.

        `paths` must be older than any upload under way. The reservation is renewed.
        """

    async def purge(
        self,
        condition: Condition,
        limit: int,
        *,
        is_dry_run: bool,
        with_pinned: bool = False,
        with_children: bool = False,
    ) -> Purged:
        """Remove at most `limit` generations that meet `condition`, with all they have. A dry run only counts.

        With children, all that was made from them goes too: as many more, or, where these are more than `limit`, so
        many of them first.
        Pinned ones are left, unless `condition` names the key or they are meant `with_pinned`.
        """


class TierMaintenance(Maintenance, Protocol):
    """And what they drop of the copies that tiers have."""

    async def purge_copies(
        self, tiers: Collection[Tier], condition: Condition | None, *, is_dry_run: bool
    ) -> PurgedCopies:
        """Declare copies in these tiers (memory, disk, Redis, CDN) wrong; the pictures stay.

        Those of what meets `condition`, pinned or not, or of everything where it is None; of more than 1,000
        generations all copies go. A dry run only counts.
        """
