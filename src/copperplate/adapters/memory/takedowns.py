"""The part of the ledger in memory that is taken down or pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.memory.lineage import MemoryLineage, digest_of_source
from copperplate.adapters.memory.tables import TakedownRow
from copperplate.ports.takedowns import Found, Pin, Takedown
from copperplate.recipes.kinds import PROCESSED

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class MemoryTakedowns(MemoryLineage):
    """`Takedowns` over the tables in memory."""

    async def take_down(self, key: str, *, reason: str | None = None) -> Takedown:
        """See `Takedowns.take_down`."""
        found, generation_key = self._find(key)
        is_known = generation_key in self._generations
        row = self._takedowns.setdefault(generation_key, TakedownRow(key, follows=""))
        is_new, row.asked_key, row.follows = (
            row.follows is not None,
            key if row.follows is not None else row.asked_key,
            None,
        )
        followers = {name for name, other in self._takedowns.items() if other.follows == generation_key}
        names = self._names_below({generation_key, *followers}) - {generation_key}
        descendants = sorted(names & self._generations.keys())
        for name in sorted(names):
            self._takedowns.setdefault(name, TakedownRow(key, follows=generation_key))
        forms = [form for name in (generation_key, *descendants) for form in self._forms(name)]
        images, size_bytes = self._count_shown(forms), sum(form.entry.size_bytes for form in forms)
        in_cdns = self._without_private((generation_key, *descendants))
        for name in (generation_key, *descendants):
            self._remove_taken_down(name, self._takedowns[name])
        self._discard_inputs({generation_key, *followers, *names})
        objects = self._removed_with(generation_key)
        self._add_cdn_purges(in_cdns, objects)
        return Takedown(
            found=found,
            generation_key=generation_key,
            is_new=is_new,
            generations=int(is_known) + len(descendants),
            descendants=len(descendants),
            is_whole=True,
            images=images,
            size_bytes=size_bytes,
            keys=(generation_key, *descendants),
            objects=objects,
        )

    async def lift_takedown(self, key: str) -> bool:
        """See `Takedowns.lift_takedown`."""
        lifted = {name for name, row in self._takedowns.items() if row.follows is None and key in (name, row.asked_key)}
        self._takedowns = {
            name: row for name, row in self._takedowns.items() if name not in lifted and row.follows not in lifted
        }
        return bool(lifted)

    async def pin(self, key: str) -> Pin | None:
        """See `Takedowns.pin`."""
        return self._set_pin(key, is_pinned=True)

    async def unpin(self, key: str) -> Pin | None:
        """See `Takedowns.unpin`."""
        return self._set_pin(key, is_pinned=False)

    def _find(self, key: str) -> tuple[Found, str]:
        if key in self._generations:
            return Found.GENERATION, key
        if stored := self._entries.get(key):
            return Found.PICTURE, stored.entry.generation_key
        for generation_key, row in self._takedowns.items():
            if key == generation_key or (key == row.asked_key and row.follows is None):
                return Found.TOMBSTONE, generation_key
        if key in self._sources:
            return Found.SOURCE, key
        return Found.NOTHING, key

    def _set_pin(self, key: str, *, is_pinned: bool) -> Pin | None:
        _, generation_key = self._find(key)
        row = self._generations.get(generation_key)
        if row is None:
            return None
        is_new, row.is_pinned = row.is_pinned is not is_pinned, is_pinned
        return Pin(generation_key=generation_key, status=row.status, is_new=is_new)

    def _enforce_takedown(self, generation_key: str, rendition_key: str | None = None) -> None:
        """Remove what is taken down; a tombstone of the rendition alone becomes one of its generation."""
        row = self._takedowns.get(generation_key) or self._takedowns.get(rendition_key or "")
        if row is not None:
            row = self._takedowns.setdefault(generation_key, TakedownRow(row.asked_key))
            self._remove_taken_down(generation_key, row)
        elif self._is_source_taken_down(digest_of_source(self._generations.get(generation_key))):
            self._remove_taken_down(generation_key, TakedownRow(generation_key))

    def _remove_taken_down(self, generation_key: str, row: TakedownRow) -> None:
        before = set(self._discarded)
        self._remove([name for name, kept in self._entries.items() if kept.entry.generation_key == generation_key])
        if generation_key in self._generations:
            self._forget(generation_key)
        row.paths |= self._discarded.keys() - before
        self._hints.announce(generation_key)

    def _discard_inputs(self, digests: AbstractSet[str]) -> None:
        """Remove the clean copies of source pictures that are taken down."""
        for digest in digests & self._sources.keys():
            row = self._sources[digest]
            if row.kept is not None:
                self._discard_path(PROCESSED.bucket, row.kept.path)
                if digest in self._takedowns:
                    self._takedowns[digest].paths.add(row.kept.path)
                row.kept = None

    def _removed_with(self, generation_key: str) -> tuple[tuple[str, str], ...]:
        """The objects of a tombstone and its followers that the store may still have."""
        rows = [row for name, row in self._takedowns.items() if generation_key in (name, row.follows)]
        paths = {path for row in rows for path in row.paths} & self._discarded.keys()
        return tuple((self._discarded[path].bucket, path) for path in sorted(paths))
