"""Where pictures come from and what was made from them, over the tables in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.entries import MemoryEntries
from copperplate.recipes.kinds import PROCESSED
from copperplate.recipes.processed import source_of
from copperplate.source_pictures import Parent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.adapters.memory.tables import GenerationRow
    from copperplate.model import PictureRequest

MAX_DEPTH: Final = 32


def digest_of_source(row: GenerationRow | PictureRequest | None) -> str | None:
    """The digest of what a generation is made from; None of one that is generated."""
    return None if row is None or row.kind != PROCESSED.name else source_of(row.recipe)


class MemoryLineage(MemoryEntries):
    """Walks over generations, by their keys, and bytes, by their digests. A circle ends where it meets itself."""

    def _is_source_taken_down(self, digest: str | None) -> bool:
        """Whether these bytes, or any picture that they come from, are taken down."""
        met = set[str]()
        while digest is not None and digest not in met:
            met.add(digest)
            row = self._sources.get(digest)
            if digest in self._takedowns or (row is not None and row.parent_key in self._takedowns):
                return True
            digest = None if row is None else row.parent_source
        return False

    def _names_below(self, names: Iterable[str]) -> set[str]:
        """These, and the keys and digests of all that was made from them in any number of steps."""
        met, left = set[str](), list(names)
        while left:
            name = left.pop()
            if name not in met:
                met.add(name)
                left += self._sources_of(name, name)
                left += self._made_from(name)
        return met

    def _comes_from(self, digest: str | None, origin: str) -> bool:
        """Whether these bytes are those of `origin`, or come from them."""
        met = set[str]()
        while digest is not None and digest not in met:
            if digest == origin:
                return True
            met.add(digest)
            row = self._sources.get(digest)
            digest = None if row is None else row.parent_source
        return False

    def _find_parent(self, digest: str, told: Parent | None, *, is_told: bool) -> Parent | None:
        """The picture whose bytes these are, told or found, before the one they are said to be a rectangle of."""
        same = sorted(
            (kept.created, kept.entry.generation_key) for kept in self._entries.values() if kept.entry.digest == digest
        )
        found = [Parent(generation_key=key) for _, key in same]
        if told is not None and told.crop is None:
            found = [told, *found]
        elif told is not None and is_told:
            found = [*found, told]
        sources = [digest_of_source(self._generations.get(each.generation_key)) for each in found]
        return next(
            (each for each, source in zip(found, sources, strict=True) if not self._comes_from(source, digest)), None
        )

    def _generations_below(self, keys: Iterable[str], steps: int | None = None) -> dict[str, int]:
        """All generations that were made from these, each with the fewest steps that lead to it, `steps` at most."""
        met = dict.fromkeys(keys, 0)
        level: set[tuple[str | None, str | None]] = {(key, None) for key in met}
        digests, depth = set[str](), 0
        while level and (steps is None or depth < steps):
            depth += 1
            new = {found for name, source in level for found in self._sources_of(name, source)} - digests
            digests |= new
            level = {(None, digest) for digest in new}
            for digest in new:
                level |= {(made, digest) for made in self._made_from(digest)}
                met |= {made: depth for made in self._made_from(digest) if made not in met}
        return {key: depth for key, depth in met.items() if depth}

    def _depths(self, key: str) -> dict[str, int]:
        """The keys of a generation's lineage, each with its steps from it; where a circle was noted, the fewest."""
        depths = {key: 0}
        for steps, found in enumerate(self._above(key), start=1):
            depths.setdefault(found, -steps)
        for found, steps in self._generations_below([key], MAX_DEPTH).items():
            if found not in depths or abs(depths[found]) > steps:
                depths[found] = steps
        return depths

    def _parent_of(self, key: str) -> str | None:
        source = self._sources.get(digest_of_source(self._generations.get(key)) or "")
        return None if source is None else source.parent_key

    def _above(self, key: str) -> list[str]:
        found, digest = list[str](), digest_of_source(self._generations.get(key))
        while digest in self._sources and len(found) < MAX_DEPTH:
            row = self._sources[digest]
            if row.parent_key is None:
                break
            found.append(row.parent_key)
            digest = row.parent_source
        return found

    def _sources_of(self, key: str | None, digest: str | None) -> list[str]:
        """The digests of what comes of a generation's picture, or of one that was made from those bytes."""
        parents = {key, digest} - {None}
        noted = [
            name
            for name, row in self._sources.items()
            if row.parent_key in parents or (digest is not None and row.parent_source == digest)
        ]
        # Its own bytes, which somebody may bring as a file.
        return noted + [kept.entry.digest for kept in self._entries.values() if kept.entry.generation_key == key]

    def _made_from(self, digest: str) -> list[str]:
        return [key for key, row in self._generations.items() if digest_of_source(row) == digest]
