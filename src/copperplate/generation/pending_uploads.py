"""A picture that is made and not stored yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    from copperplate.model import Entry, OriginalUpload, RenditionUpload


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUploads:
    """The original and the rendition that is to be stored with it."""

    original: OriginalUpload
    original_body: bytes = field(repr=False)
    rendition: RenditionUpload | None = None
    rendition_body: bytes | None = field(default=None, repr=False)

    @property
    def size_bytes(self) -> int:
        """The memory that both bodies take."""
        return len(self.original_body) + len(self.rendition_body or b"")

    def without_rendition(self) -> PendingUploads:
        """The original alone."""
        return replace(self, rendition=None, rendition_body=None)

    def recorded(self, entry: Entry, generation_key: str) -> LookupResult:
        """The result as recorded. An `entry` with another path is another process's, and so are its bytes."""
        if entry.is_original:
            return LookupResult(entry=entry, outcome=Outcome.GENERATED, body=self.original_body)
        is_ours = self.rendition is not None and self.rendition.path == entry.path
        original = self.original.as_entry(
            kind=entry.kind, key=original_key(generation_key), generation_key=generation_key, is_original=True
        )
        return LookupResult(
            entry=entry,
            outcome=Outcome.GENERATED,
            body=self.rendition_body if is_ours else None,
            original=LookupResult(entry=original, outcome=Outcome.GENERATED, body=self.original_body),
        )
