"""The part of the ledger in memory that is taken down or pinned."""

from __future__ import annotations

from copperplate.adapters.memory.entries import MemoryEntries
from copperplate.adapters.memory.tables import TakedownRow
from copperplate.ports.takedowns import Found, Pin, Takedown


class MemoryTakedowns(MemoryEntries):
    """`Takedowns` over the tables in memory."""

    async def take_down(self, key: str, *, reason: str | None = None) -> Takedown:
        """See `Takedowns.take_down`."""
        found, generation_key = self._find(key)
        is_new = generation_key not in self._takedowns
        row = self._takedowns.setdefault(generation_key, TakedownRow(key))
        forms = list(self._forms(generation_key))
        images = self._count_shown(forms)
        is_known = generation_key in self._generations
        self._remove_taken_down(generation_key, row)
        return Takedown(
            found=found,
            generation_key=generation_key,
            is_new=is_new,
            generations=int(is_known),
            images=images,
            size_bytes=sum(form.entry.size_bytes for form in forms),
            keys=(generation_key,),
            objects=tuple((self._discarded[path].bucket, path) for path in sorted(row.paths & self._discarded.keys())),
        )

    async def lift_takedown(self, key: str) -> bool:
        """See `Takedowns.lift_takedown`."""
        lifted = [name for name, row in self._takedowns.items() if key in (name, row.asked_key)]
        for name in lifted:
            del self._takedowns[name]
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
            if key in (generation_key, row.asked_key):
                return Found.TOMBSTONE, generation_key
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

    def _remove_taken_down(self, generation_key: str, row: TakedownRow) -> None:
        before = set(self._discarded)
        self._remove([name for name, kept in self._entries.items() if kept.entry.generation_key == generation_key])
        if generation_key in self._generations:
            self._forget(generation_key)
        row.paths |= self._discarded.keys() - before
        self._hints.announce(generation_key)
