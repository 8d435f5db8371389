"""The part of the ledger in memory that knows source pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.generation_states import MemoryGenerationStates
from copperplate.adapters.memory.lineage import digest_of_source
from copperplate.adapters.memory.maintenance import MemoryMaintenance
from copperplate.adapters.memory.tables import SourceRow, TakedownRow
from copperplate.adapters.memory.takedowns import MemoryTakedowns
from copperplate.recipes.kinds import PROCESSED
from copperplate.recipes.objects import original_key
from copperplate.recipes.processed import parameters_of, source_of
from copperplate.source_pictures import MAX_LINEAGE, KnownSource, LineageNode, Operation, ProcessedResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta
    from uuid import UUID

    from copperplate.adapters.memory.tables import EntryRow, GenerationRow
    from copperplate.ports.maintenance import CleanupCounts
    from copperplate.source_pictures import KeptInput, SourcePicture

# A wish may wait for a day, and the store drops a copy a day after it was stored.
_KEPT_SECONDS: Final = 1_800
_NEEDED_SECONDS: Final = 2 * DAY_SECONDS


class MemorySourcePictures(MemoryMaintenance, MemoryTakedowns, MemoryGenerationStates):
    """`SourcePictures` over the tables in memory."""

    async def note_source(self, picture: SourcePicture, *, owner: str | None) -> KnownSource:
        """See `SourcePictures.note_source`."""
        now = self._clock.monotonic()
        is_new = picture.digest not in self._sources
        row = self._sources.setdefault(picture.digest, SourceRow(replace(picture, parent=None), now))
        row.last_used = now
        self._note_parent(row, picture, may_declare=owner is not None and (is_new or row.owners == {owner}))
        if self._is_source_taken_down(picture.digest):
            # Its parent was taken down before it was known to be that.
            names = self._names_below([picture.digest])
            for key in sorted(names & self._generations.keys()):
                self._remove_taken_down(key, TakedownRow(key))
            self._discard_inputs(names)
        if owner is not None and owner not in self._forgotten:
            row.owners.add(owner)
            self._forget_declared(row)
        known = self._known(row, owner)
        return replace(known, kept_input=None) if row.kept_at < now - _KEPT_SECONDS else known

    def _note_parent(self, row: SourceRow, picture: SourcePicture, *, may_declare: bool) -> None:
        """Note where the bytes come from: what is proved stands in place of what was declared."""
        known, parent = row.picture.parent, self._find_parent(picture.digest, picture.parent, is_told=may_declare)
        is_proved = parent is not None and parent.crop is None
        if known is None or (known.crop is not None and is_proved):
            row.picture = replace(row.picture, parent=parent)
            made = None if parent is None else self._generations.get(parent.generation_key)
            row.parent_source = digest_of_source(made)

    def _forget_declared(self, row: SourceRow) -> None:
        """What one owner declared must not take down what another made of the same bytes."""
        if len(row.owners) > 1 and row.picture.parent is not None and row.picture.parent.crop is not None:
            row.picture, row.parent_source = replace(row.picture, parent=None), None

    async def find_source(self, digest: str, *, owner: str | None) -> KnownSource | None:
        """See `SourcePictures.find_source`."""
        row = self._sources.get(digest)
        return None if row is None else self._known(row, owner)

    async def keep_input(self, digest: str, kept: KeptInput) -> bool:
        """See `SourcePictures.keep_input`."""
        row = self._sources.get(digest)
        if self._is_source_taken_down(digest):
            self._discard_path(PROCESSED.bucket, kept.path)
            return False
        if row is None:
            return False
        if row.kept is None or row.kept.path != kept.path:
            row.kept_at = self._clock.monotonic()
        row.kept = kept
        return True

    async def find_results(self, digest: str) -> Sequence[ProcessedResult]:
        """See `SourcePictures.find_results`."""
        return [
            ProcessedResult(
                operation=Operation(str(row.recipe["operation"])),
                generation_key=key,
                model=str(row.recipe["model"]),
                parameters=parameters_of(row.recipe),
                created_at=self._at_time(stored.created),
            )
            for key, row, stored in sorted(self._stored_of(digest), key=lambda each: (-each[2].created, each[0]))
        ]

    async def may_see_processed(self, generation_key: str, owner: str) -> bool:
        """See `SourcePictures.may_see_processed`."""
        row = self._generations.get(generation_key)
        asked = [wish.asked.recipe for wish in self._open_wishes(generation_key)]
        recipes = asked if row is None else [row.recipe, *asked]
        digests = [source_of(recipe) for recipe in recipes if recipe["kind"] == PROCESSED.name]
        return any(owner in self._sources[digest].owners for digest in digests if digest in self._sources)

    async def lineage(
        self, key: str, *, with_descendants: bool = True, owner: str | None = None
    ) -> Sequence[LineageNode]:
        """See `SourcePictures.lineage`."""
        stored = self._entries.get(key)
        depths = self._depths(key if stored is None else stored.entry.generation_key)
        known = [
            (self._generations[name], name, depth)
            for name, depth in depths.items()
            if name in self._generations and (depth <= 0 or with_descendants)
        ]
        ordered = sorted(known, key=lambda each: (each[2], each[0].created, each[1]))
        return [self._node(*each, owner) for each in ordered[:MAX_LINEAGE]]

    async def cleanup_entries(
        self, kind: str, limit: int, *, older_than: timedelta | None = None, after: str | None = None
    ) -> CleanupCounts:
        """See `Maintenance.cleanup_entries`."""
        counts = await super().cleanup_entries(kind, limit, older_than=older_than, after=after)
        if kind == PROCESSED.name:
            age = (PROCESSED.retention if older_than is None else older_than).total_seconds()
            self._forget_old_sources(self._clock.monotonic() - max(age, _NEEDED_SECONDS))
        return counts

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`: nobody is told that they had a picture's bytes."""
        for row in self._sources.values():
            row.owners.discard(f"user:{user}")
        return await super().forget_user(user)

    def _forget_old_sources(self, cutoff: float) -> None:
        """The last of a lineage first; what is old and used is looked at again when that use is old."""
        while last := [digest for digest in self._old_sources(cutoff) if not self._has_old_child(digest, cutoff)]:
            for digest in last:
                used = self._used_at(digest, cutoff)
                if used is None:
                    del self._sources[digest]
                else:
                    self._sources[digest].last_used = used

    def _old_sources(self, cutoff: float) -> list[str]:
        return [digest for digest, row in self._sources.items() if row.last_used < cutoff]

    def _children_of(self, digest: str) -> list[SourceRow]:
        return [row for name, row in self._sources.items() if row.parent_source == digest and name != digest]

    def _has_old_child(self, digest: str, cutoff: float) -> bool:
        return any(row.last_used < cutoff for row in self._children_of(digest))

    def _used_at(self, digest: str, cutoff: float) -> float | None:
        """When what was made of a source picture was last used; None where there is nothing."""
        made = self._made_from(digest)
        accessed = [row.last_accessed for row in self._entries.values() if row.entry.generation_key in made]
        # What is old, pinned, or being made is looked at again a day later.
        uses = [max(accessed, default=cutoff), cutoff + DAY_SECONDS] if made else []
        return max(uses + [row.last_used for row in self._children_of(digest)], default=None)

    def _known(self, row: SourceRow, owner: str | None) -> KnownSource:
        return KnownSource(
            picture=row.picture,
            is_owned=owner in row.owners,
            is_owned_alone=row.owners == {owner},
            is_taken_down=self._is_source_taken_down(row.picture.digest),
            kept_input=row.kept,
        )

    def _node(self, row: GenerationRow, key: str, depth: int, owner: str | None) -> LineageNode:
        source = self._sources.get(digest_of_source(row) or "")
        parent = None if source is None else source.picture.parent
        return LineageNode(
            generation_key=key,
            kind=row.kind,
            operation=Operation(str(row.recipe["operation"])) if row.kind == PROCESSED.name else None,
            model=str(row.recipe["model"]),
            source=digest_of_source(row),
            parent=None if parent is None else parent.generation_key,
            crop=None if parent is None else parent.crop,
            depth=depth,
            created_at=self._at_time(row.created),
            is_owned=source is not None and owner in source.owners,
        )

    def _stored_of(self, digest: str) -> Iterator[tuple[str, GenerationRow, EntryRow]]:
        """The generations made from a source picture whose original is stored."""
        for key, row in self._generations.items():
            stored = self._entries.get(original_key(key))
            if row.kind == PROCESSED.name and source_of(row.recipe) == digest and stored is not None:
                yield key, row, stored
