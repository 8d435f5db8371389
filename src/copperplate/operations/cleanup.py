"""Tidying up: what is old goes, what is broken off is closed, and dead objects leave the store.

Any number of runs may overlap: rows are claimed, and removing an object twice is removing it.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from copperplate.errors import LedgerUnavailable, StoreMisconfigured, StoreUnavailable
from copperplate.ports import KeptPictures, Maintenance
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from copperplate.operations.backfill import Backfill
    from copperplate.ports import Clock, ObjectStore
    from copperplate.ports.maintenance import DiscardedObject
    from copperplate.recipes.kinds import KindSpec

logger = logging.getLogger(__name__)

# A Vercel function may run for five minutes; the last step of a run takes at most one.
TIME: Final = timedelta(minutes=3, seconds=30)
ROWS: Final = 500  # one statement stays well below the database's time limit
LOOKED: Final = 2 * ROWS  # entries, of which a picture has two: its original and itself
OBJECTS: Final = 100  # are removed well within the five minutes they are claimed for
LISTED: Final = 1_000
COUNTED: Final = ("archived", "generations", "size_bytes", "swept", "objects", "orphans", "odd")
# Longer than any upload takes, whatever the clocks of store and process say.
YOUNG: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What one run did. Not complete: its time was over, or a store or the ledger did not answer in time.

    `pictures` are counted by kind. `odd` is how much lies in the folders of a store that is no object of ours; it is
    left where it is. `placeholders` were made for pictures without one; `placeholders_left` have none yet.
    """

    pictures: Mapping[str, int]
    archived: int
    generations: int
    size_bytes: int
    swept: int
    objects: int
    orphans: int
    odd: int
    placeholders: int
    placeholders_left: int | None
    seconds: float
    is_complete: bool

    def as_dict(self) -> dict[str, Any]:
        """As it is answered and logged: each kind under its `count_name`."""
        return {
            **_by_kind(self.pictures),
            "archived": self.archived,
            "generations": self.generations,
            "bytes": self.size_bytes,
            "swept": self.swept,
            "objects": self.objects,
            "orphans": self.orphans,
            "odd": self.odd,
            "placeholders": self.placeholders,
            "placeholders_left": self.placeholders_left,
            "seconds": self.seconds,
            "is_complete": self.is_complete,
        }


class _Ledger(Maintenance, KeptPictures, Protocol):
    """What is asked here."""


async def clean(
    ledger: Maintenance,
    stores: Iterable[ObjectStore],
    *,
    clock: Clock,
    backfill: Backfill | None = None,
    keep: timedelta | None = None,
    within: timedelta = TIME,
) -> Cleaned:
    """Remove what is old by the rules of its kind, close what was broken off, empty the bin, find what nobody names.

    `keep` replaces the age of those kinds that stay while they are used. With a `backfill`, some pictures that
    have no placeholder get one.

    One statement of each task in turn until all are done or the time is over, so that no backlog holds up another.
    A task that the ledger does not answer is left to the next run, which goes on from what was done. Raises
    `LedgerUnavailable` where it does not answer from the start.
    """
    began = clock.monotonic()
    run = _Run(ledger, {store.bucket: store for store in stores}, clock)
    tasks = [
        run.close_broken_off,
        run.remove_objects,
        *(run.removing(spec, _age(spec, keep)) for spec in KINDS.values()),
        run.remove_generations,
        run.find_orphans,
    ]
    if backfill is not None:
        tasks.append(backfill.step)
    while tasks := [task for task in tasks if not await run.attempt(task)]:
        if clock.monotonic() - began >= within.total_seconds():
            break
    done = Cleaned(
        pictures={name: run.pictures[name] for name in KINDS},
        **{name: run.counts[name] for name in COUNTED},
        placeholders=0 if backfill is None else backfill.made,
        placeholders_left=None if backfill is None else backfill.left,
        seconds=round(clock.monotonic() - began, 3),
        is_complete=not tasks and not run.is_hindered,
    )
    # Of a cron nobody reads the answer.
    logger.info("cleanup: %s", " ".join(f"{name}={value}" for name, value in done.as_dict().items()))
    return done


async def count(ledger: _Ledger, *, keep: timedelta | None = None) -> Mapping[str, int]:
    """What a run would remove of pictures, each kind under its `count_name`, `generations`, `bytes`, and archive."""
    counts = {name: await ledger.count_old_entries(name, older_than=_age(spec, keep)) for name, spec in KINDS.items()}
    return {
        **_by_kind({name: each.pictures for name, each in counts.items()}),
        "archived": sum(each.archived for each in counts.values()),
        "generations": sum(each.generations for each in counts.values()),
        "bytes": sum(each.size_bytes for each in counts.values()),
        "placeholders_left": await ledger.count_without_placeholder(),
    }


def _age(spec: KindSpec, keep: timedelta | None) -> timedelta | None:
    """Kinds that are kept by a number of uses have an age of their own."""
    return keep if spec.ages_from_last_use else None


def _by_kind(pictures: Mapping[str, int]) -> dict[str, int]:
    return {KINDS[name].count_name: number for name, number in pictures.items()}


class _Run:
    """One run: each task does one step and answers whether it has nothing left to do."""

    def __init__(self, ledger: Maintenance, stores: dict[str, ObjectStore], clock: Clock) -> None:
        self._ledger = ledger
        self._stores = stores
        self._clock = clock
        self._places: dict[str, str] = {}
        self._unaudited = sorted(stores)
        self._audit: _Audit | None = None
        self.counts = Counter[str]()
        self.pictures = Counter[str]()
        self.is_hindered = False
        self._is_answered = False

    async def attempt(self, task: Callable[[], Awaitable[bool]]) -> bool:
        """One step of `task`; it has nothing left to do once the ledger, which answered others, fails it."""
        try:
            is_done = await task()
        except LedgerUnavailable as error:
            if not self._is_answered:
                raise
            logger.warning("cleanup: %s: %s", error.code, error)
            self.is_hindered = True
            return True
        self._is_answered = True
        return is_done

    def removing(self, spec: KindSpec, older_than: timedelta | None) -> Callable[[], Awaitable[bool]]:
        """The task of one kind. Each entry that is old enough is looked at once in a run, also those still in use."""

        async def remove_entries() -> bool:
            counts = await self._ledger.cleanup_entries(
                spec.name, LOOKED, older_than=older_than, after=self._places.get(spec.name, "")
            )
            self.pictures[spec.name] += counts.pictures
            self.counts.update(generations=counts.generations, size_bytes=counts.size_bytes, archived=counts.archived)
            self._places[spec.name] = counts.reached or ""
            return counts.reached is None

        return remove_entries

    async def close_broken_off(self) -> bool:
        closed = await self._ledger.sweep(ROWS)
        self.counts["swept"] += closed
        return closed < ROWS

    async def remove_generations(self) -> bool:
        removed = await self._ledger.cleanup_generations(ROWS)
        self.counts["generations"] += removed
        return removed < ROWS

    async def remove_objects(self) -> bool:
        """Store first, row second: a crash between the two repeats the removal, it never loses an object."""
        claimed = await self._ledger.claim_discarded(OBJECTS)
        if not claimed:
            return True
        removed = await self._remove(claimed)
        if removed:
            self.counts["objects"] += await self._ledger.forget_discarded(removed)
        self.is_hindered |= len(removed) < len(claimed)
        return len(removed) < len(claimed)

    async def _remove(self, claimed: Sequence[DiscardedObject]) -> list[int]:
        """The ids of the objects that are certainly gone; the rest is claimed again later."""
        removed_ids: list[int] = []
        for bucket in sorted({each.bucket for each in claimed}):
            ids = {each.path: each.id for each in claimed if each.bucket == bucket}
            try:
                removed = await self._stores[bucket].remove(list(ids)) if bucket in self._stores else frozenset[str]()
            except (StoreUnavailable, StoreMisconfigured) as error:
                logger.warning("cleanup: %s: %s", error.code, error)
                continue
            removed_ids += [ids[path] for path in ids if path in removed]
        return removed_ids

    async def find_orphans(self) -> bool:
        """One page of one bucket: old objects that no row names are discarded, and go after their grace."""
        if not self._unaudited:
            return True
        store = self._stores[self._unaudited[0]]
        try:
            if self._audit is None:
                reached = await self._ledger.claim_audit(store.bucket)
                if reached is None:  # another run is at it
                    self._unaudited.pop(0)
                    return False
                self._audit = _Audit.resumed(reached, await store.months())
            self.counts["orphans"] += await self._discard_page(store, self._audit)
        except (StoreUnavailable, StoreMisconfigured) as error:
            logger.warning("cleanup: %s: %s", error.code, error)
            self.is_hindered = True
            self._audit = None
            self._unaudited.pop(0)
        return False

    async def _discard_page(self, store: ObjectStore, audit: _Audit) -> int:
        old: list[str] = []
        if audit.months:
            page = await store.list_month(audit.months[0], offset=audit.offset, limit=LISTED)
            before = self._clock.now() - YOUNG
            old = [stored.path for stored in page.objects if stored.stored_at < before]
            self._count_odd(store.bucket, audit.months[0], page.odd)
            audit.advance(page.next_offset)
        if not audit.months:
            self._audit = None
            self._unaudited.pop(0)
        return await self._ledger.audit_objects(store.bucket, old, audit.reached)

    def _count_odd(self, bucket: str, month: str, odd: int) -> None:
        if odd:
            self.counts["odd"] += odd
            logger.warning(
                "cleanup: %d of what lies in %s/%s is no object of ours and is left there", odd, bucket, month
            )


@dataclass(slots=True)
class _Audit:
    """Where the listing of a bucket stands: the months to go, and the offset within the first of them."""

    months: list[str]
    offset: int

    @classmethod
    def resumed(cls, reached: str, months: Sequence[str]) -> _Audit:
        """From where the last run ended, `YYYY/MM:offset`, or from the beginning."""
        month, _, offset = reached.partition(":")
        return cls([name for name in months if name >= month], int(offset) if month in months else 0)

    def advance(self, next_offset: int | None) -> None:
        if next_offset is None:
            self.months, self.offset = self.months[1:], 0
        else:
            self.offset = next_offset

    @property
    def reached(self) -> str:
        return f"{self.months[0]}:{self.offset}" if self.months else ""
