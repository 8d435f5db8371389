"""Dropping the copies that some tiers have, while the pictures stay; of the storage tier the pictures themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from copperplate.feed import Tier
from copperplate.model import Condition
from copperplate.operations.purge import purge

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from copperplate.ports import ObjectStore
    from copperplate.ports.maintenance import PurgedCopies, ReportedCopies, TierMaintenance

# What a purge of everything in storage asks for.
EVERYTHING = Condition(older_than=timedelta(0))


class FoundCopies(Protocol):
    """So many copies, and their bytes."""

    @property
    def entries(self) -> int:
        """How many."""

    @property
    def bytes(self) -> int:
        """Of all of them."""


class SharedCopies(Protocol):
    """Copies in a tier that every process reaches: counted and dropped where they are."""

    async def count(self, generation_keys: Collection[str] | None) -> FoundCopies:
        """Those of these generations, or all."""

    async def remove(self, generation_keys: Collection[str] | None) -> FoundCopies:
        """Remove them; answers what went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPurge:
    """What is to be purged: copies in `tiers` of what meets `condition`, or of everything where it is None.

    Pins and children matter to the storage tier alone.
    """

    tiers: frozenset[Tier]
    condition: Condition | None
    with_pinned: bool = False
    with_children: bool = False


async def purge_tiers(
    ledger: TierMaintenance,
    asked: TierPurge,
    *,
    is_dry_run: bool,
    stores: Mapping[str, ObjectStore] = MappingProxyType({}),
    redis: SharedCopies | None = None,
) -> dict[str, Any]:
    """Declare copies wrong, and drop those that are reached from here; answers figures by tier, as a dry run does.

    Of memory and disk they are an upper bound: what processes reported last, but no more than the ledger knows of.
    CDNs are told from the outbox. Raises `LedgerUnavailable`, and purging again goes on.
    """
    near = asked.tiers - {Tier.STORAGE}
    copies = await ledger.purge_copies(near, asked.condition, is_dry_run=is_dry_run or not near)
    figures: dict[str, Any] = {
        tier.value: _at_most(copies, asked.condition, copies.reported.get(tier))
        for tier in (Tier.MEMORY, Tier.DISK)
        if tier in near
    }
    if Tier.REDIS in near:
        figures["redis"] = await _purge_redis(redis, copies, is_dry_run=is_dry_run)
    if Tier.STORAGE in asked.tiers:
        figures["storage"] = await purge(
            ledger,
            asked.condition or EVERYTHING,
            is_dry_run=is_dry_run,
            with_pinned=asked.with_pinned,
            with_children=asked.with_children,
            stores=stores,
        )
    if Tier.CDN in near:
        is_everything = copies.generation_keys is None
        keys = copies.generations if copies.generation_keys is None else len(copies.generation_keys)
        figures["cdn"] = {"keys": keys, "objects": copies.objects, "is_everything": is_everything}
    return figures


def _at_most(copies: PurgedCopies, condition: Condition | None, reported: ReportedCopies | None) -> dict[str, Any]:
    """Each process, or each folder of some, may have a copy of each picture, so far as the last reports go."""
    if reported is None:
        known = {"entries": copies.entries, "bytes": copies.size_bytes}
        return {**known, "places": None, "reported_seconds_ago": None}
    entries, size_bytes = reported.entries, reported.bytes
    if condition is not None:
        entries = min(entries, copies.entries * reported.places)
        size_bytes = min(size_bytes, copies.size_bytes * reported.places)
    return {
        "entries": entries,
        "bytes": size_bytes,
        "places": reported.places,
        "reported_seconds_ago": round(reported.seconds_ago, 1),
    }


async def _purge_redis(redis: SharedCopies | None, copies: PurgedCopies, *, is_dry_run: bool) -> dict[str, Any]:
    """Zero where there is none. Of what the feed declared wrong nothing is answered, deleted or not."""
    if redis is None:
        return {"entries": 0, "bytes": 0}
    found = await (redis.count if is_dry_run else redis.remove)(copies.generation_keys)
    return {"entries": found.entries, "bytes": found.bytes}
