"""The part of the ledger in memory that finds kept pictures and notes their placeholders."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.memory.entries import MemoryEntries
from copperplate.model import Size
from copperplate.ports.kept_pictures import KeptForm, KeptPicture, KeptPictureInfo
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.adapters.memory.tables import EntryRow
    from copperplate.model import Entry, Placeholder


class MemoryKeptPictures(MemoryEntries):
    """`KeptPictures` over the tables in memory."""

    async def find_kept(self, name: str) -> KeptPicture | None:
        """See `KeptPictures.find_kept`."""
        row = self._entries.get(name) or self._entries.get(original_key(name)) or self._at(name)
        if row is None:
            return None
        form = _form(row)
        return KeptPicture(
            kind=row.kind,
            generation_key=row.entry.generation_key,
            model=str(self._generations[row.entry.generation_key].recipe["model"]),
            canvas=self._canvas(row.entry.generation_key),
            key=form.key,
            format=form.format,
            quality=form.quality,
            size=form.size,
            is_original=form.is_original,
            is_sized=form.is_sized,
        )

    async def describe_kept(self, generation_key: str) -> KeptPictureInfo | None:
        """See `KeptPictures.describe_kept`."""
        original = self._entries.get(original_key(generation_key))
        if original is None:
            return None
        forms = sorted(map(_form, self._forms(generation_key)), key=_place)
        age = timedelta(seconds=self._clock.monotonic() - original.created)
        return KeptPictureInfo(
            kind=original.kind,
            generation_key=generation_key,
            model=str(self._generations[generation_key].recipe["model"]),
            canvas=self._canvas(generation_key),
            created_at=self._clock.now() - age,
            generation_ms=original.generation_ms,
            has_c2pa=original.has_c2pa,
            is_ai_made=original.entry.is_ai_made,
            placeholder=original.entry.placeholder,
            forms=tuple(forms),
        )

    async def originals_without_placeholder(self, limit: int, *, after: str = "") -> Sequence[Entry]:
        """See `KeptPictures.originals_without_placeholder`."""
        bare = sorted((row.entry for row in self._entries.values() if _is_bare(row)), key=lambda entry: entry.key)
        return [entry for entry in bare if entry.is_original and entry.key > after][:limit]

    async def count_without_placeholder(self) -> int:
        """See `KeptPictures.count_without_placeholder`."""
        return sum(_is_bare(row) and row.entry.is_original for row in self._entries.values())

    async def set_placeholder(self, generation_key: str, placeholder: Placeholder | None) -> bool:
        """See `KeptPictures.set_placeholder`."""
        bare = [row for row in self._forms(generation_key) if _is_bare(row)]
        for row in bare:
            row.entry = replace(row.entry, placeholder=placeholder)
            row.has_no_placeholder = placeholder is None
        return bool(bare)

    def _at(self, name: str) -> EntryRow | None:
        for row in self._entries.values():
            if name in (row.entry.path, f"{KINDS[row.kind].bucket}/{row.entry.path}"):
                return row
        return None

    def _canvas(self, generation_key: str) -> Size:
        recipe = self._generations[generation_key].recipe
        if "width" in recipe:
            return Size(width=int(str(recipe["width"])), height=int(str(recipe["height"])))
        if "size" not in recipe:  # its source picture said it
            original = self._entries[original_key(generation_key)].entry
            return Size(width=original.width, height=original.height)
        width, _, height = str(recipe["size"]).partition("x")
        return Size(width=int(width), height=int(height))


def _is_bare(row: EntryRow) -> bool:
    return row.entry.placeholder is None and not row.has_no_placeholder


def _form(row: EntryRow) -> KeptForm:
    entry = row.entry
    return KeptForm(
        key=entry.key,
        path=entry.path,
        format=entry.format,
        size=Size(width=entry.width, height=entry.height),
        quality=row.quality,
        size_bytes=entry.size_bytes,
        is_original=entry.is_original,
        is_sized=row.is_sized,
    )


def _place(form: KeptForm) -> tuple[bool, str, int, int, str]:
    # As describe_kept orders them: nothing comes after every quality.
    return (not form.is_original, form.format, form.size.width, form.quality or 101, form.key)
