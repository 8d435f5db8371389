"""Entries of the ledger in memory: added, replaced, shown and removed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.tables import EntryRow, GenerationRow, MemoryTables
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from copperplate.model import Entry, OriginalUpload, RenditionUpload, RequestCount

MAX_RENDITIONS: Final = 64
MAX_SIZED: Final = 48


class MemoryEntries(MemoryTables):
    """What may be done to entries without yielding."""

    def _forms(self, generation_key: str) -> Iterator[EntryRow]:
        """All entries of a generation, the first kept first."""
        return (kept for kept in self._entries.values() if kept.entry.generation_key == generation_key)

    def _add_original(self, row: GenerationRow, key: str, upload: OriginalUpload) -> Entry:
        now = self._clock.monotonic()
        entry_key = original_key(key)
        entry = upload.as_entry(kind=row.kind, key=entry_key, generation_key=key, is_original=True)
        entry = replace(entry, placeholder=upload.placeholder, is_ai_made=upload.is_ai_made)
        duration_ms = round((now - row.asked_at) * 1_000) if row.submit_no else None
        self._entries[entry_key] = EntryRow(
            entry, row.kind, now, now, has_c2pa=upload.has_c2pa, generation_ms=duration_ms
        )
        return entry

    def _add_rendition(self, row: GenerationRow, key: str, upload: RenditionUpload) -> Entry | None:
        """The entry that stands then; None where none does and the object cannot be kept."""
        standing = self._entries.get(upload.key)
        if standing is None:
            may_stand = self._may_keep(key, upload)
        else:
            entry = standing.entry
            may_stand = not entry.is_original and entry.encoder_version < upload.encoder_version
        if may_stand and self._take_back(upload.path):
            return self._put(row, key, upload)
        if standing is None or standing.entry.path != upload.path:
            self._discard(row, upload)
        return standing.entry if standing is not None else None

    def _may_keep(self, key: str, upload: RenditionUpload) -> bool:
        """Whole pictures have at most 16 forms: what is sized leaves room for them."""
        kept = sum(not form.entry.is_original for form in self._forms(key))
        if upload.is_sized and self._has_no_place(key):
            return kept <= MAX_RENDITIONS and self._disused(key) is not None
        return kept < MAX_RENDITIONS

    def _has_no_place(self, key: str) -> bool:
        """Whether there are as many sized forms as there may be."""
        return sum(form.is_sized for form in self._forms(key)) >= MAX_SIZED

    def _disused(self, key: str) -> EntryRow | None:
        """The sized form that another may displace: the least recently used, if nobody used it for a day."""
        if self._generations[key].is_pinned:
            return None
        cutoff = self._clock.monotonic() - DAY_SECONDS
        disused = [
            form
            for form in self._forms(key)
            if form.is_sized and form.last_accessed < cutoff and not form.is_archived and not self._is_shown(form)
        ]
        return min(disused, key=lambda form: (form.last_accessed, form.created, form.entry.key), default=None)

    def _put(self, row: GenerationRow, key: str, upload: RenditionUpload) -> Entry:
        now, replaced = self._clock.monotonic(), self._entries.get(upload.key)
        entry = upload.beside(self._entries[original_key(key)].entry)
        if replaced is None:
            if upload.is_sized and self._has_no_place(key) and (displaced := self._disused(key)):
                self._remove([displaced.entry.key], is_wrong=False)
            self._entries[upload.key] = EntryRow(
                entry, row.kind, now, now, quality=upload.quality, is_sized=upload.is_sized
            )
        else:
            self._discard_path(KINDS[row.kind].bucket, replaced.entry.path)
            replaced.entry = entry
            self._declare_wrong([key])
        return entry

    def _is_shown(self, row: EntryRow) -> bool:
        """Whether people are shown it: the original of some kinds; of others one rendition a format."""
        entry = row.entry
        if KINDS[row.kind].is_own_original or entry.is_original:
            return KINDS[row.kind].is_own_original and entry.is_original
        alike = [
            form
            for form in self._forms(entry.generation_key)
            if form.entry.format == entry.format and not form.entry.is_original
        ]
        return row is next((form for form in alike if form.is_standard), alike[0])

    def _used(self, use: RequestCount) -> EntryRow | None:
        """What a use counts on: the form that was served, or what is shown in its place where that is not kept."""
        original = self._entries.get(original_key(use.generation_key))
        # Where people are shown the original, every form is a use of it.
        if KINDS[use.kind].is_own_original:
            return original
        if served := self._entries.get(use.rendition_key):
            return served
        shown = (form for form in self._forms(use.generation_key) if self._is_shown(form))
        return min(
            shown, key=lambda form: (form.entry.format != use.format, form.created, form.entry.key), default=original
        )

    def _count_shown(self, rows: Iterable[EntryRow]) -> int:
        return sum(self._is_shown(row) for row in rows)

    def _remove(self, keys: Sequence[str], *, is_wrong: bool = True) -> int:
        """Answers their bytes. What is not wrong, but old or displaced, may stay in CDNs."""
        if is_wrong:
            gone_rows = [self._entries[key] for key in keys]
            public = {row.entry.generation_key for row in gone_rows if KINDS[row.kind].is_public}
            self._add_cdn_purges(public, [(KINDS[row.kind].bucket, row.entry.path) for row in gone_rows])
        size_bytes = 0
        self._declare_wrong(self._entries[key].entry.generation_key for key in keys)
        for key in keys:
            gone = self._entries.pop(key)
            size_bytes += gone.entry.size_bytes
            self._accesses[gone.kind] -= gone.access_count
            if gone.entry.is_original:
                self._give_back_all([gone.entry.generation_key])
            self._discard_path(KINDS[gone.kind].bucket, gone.entry.path)
        return size_bytes

    def _forget(self, key: str) -> None:
        """A generation goes; what its leader was about to store belongs to nobody."""
        row = self._generations.pop(key)
        self._discard(row, row.intent)
        self._give_back_all([key])
        self._release_spending(key)

    def _stands(self, original: Entry) -> bool:
        stored = self._entries.get(original.key)
        return stored is not None and stored.entry.path == original.path

    def _take_back(self, path: str) -> bool:
        """Take a path back that was intended; too late once its removal has begun."""
        gone = self._discarded.get(path)
        if gone is None or gone.claimed_until:
            return False
        del self._discarded[path]
        return True
