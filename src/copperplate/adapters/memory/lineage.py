"""Where pictures come from and what was made from them, over the tables in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.entries import MemoryEntries
from copperplate.recipes.kinds import PROCESSED
from copperplate.recipes.processed import source_of

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

    def _generations_below(self, names: Iterable[str]) -> list[str]:
        """The keys of all generations that were made from these, without these themselves."""
        above = set(names)
        return sorted((self._names_below(above) & self._generations.keys()) - above)

    def _depths(self, key: str) -> dict[str, int]:
        """The keys of a generation's lineage, each with its steps from it; where a circle was declared, the fewest."""
        depths = {key: 0}
        for steps, found in enumerate(self._above(key), start=1):
            depths.setdefault(found, -steps)
        level: set[tuple[str | None, str | None]] = {(key, None)}
        met = set[str]()
        for depth in range(1, MAX_DEPTH + 1):
            digests = {found for name, source in level for found in self._sources_of(name, source)} - met
            met |= digests
            level = {(None, digest) for digest in digests}
            for digest in digests:
                for made in self._made_from(digest):
                    level.add((made, digest))
                    if made not in depths or abs(depths[made]) > depth:
                        depths[made] = depth
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
