"""What a leader has made: first as uploads that are still to be stored, then as the ledger recorded them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from copperplate.recipes.image import original_key

if TYPE_CHECKING:
    from copperplate.model import Entry, RenditionUpload, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What a leader made: the original, and the entry its caller asked for.

    Without a rendition, `entry` is the original's. `body` is None where another process's bytes stand.
    """

    entry: Entry
    body: bytes | None = field(repr=False)
    original: Entry
    original_body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUploads:
    """The original and the rendition that is to be stored with it."""

    original: Upload
    original_body: bytes = field(repr=False)
    rendition: RenditionUpload | None = None
    rendition_body: bytes | None = field(default=None, repr=False)

    @property
    def size_bytes(self) -> int:
        """What it takes to keep them."""
        return len(self.original_body) + len(self.rendition_body or b"")

    def without_rendition(self) -> PendingUploads:
        """The original alone."""
        return replace(self, rendition=None, rendition_body=None)

    def recorded(self, entry: Entry, key: str) -> Generated:
        """As the ledger recorded them under the generation's `key`."""
        original = self.original.as_entry(key=original_key(key), generation_key=key, is_original=True)
        if entry.is_original:
            return Generated(entry=entry, body=self.original_body, original=original, original_body=self.original_body)
        is_ours = self.rendition is not None and self.rendition.path == entry.path
        body = self.rendition_body if is_ours else None
        return Generated(entry=entry, body=body, original=original, original_body=self.original_body)
