"""A picture that is made and not stored yet, and what of it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    from copperplate.generation.rendition_plan import PlannedRendition
    from copperplate.model import Entry, OriginalUpload, RenditionUpload, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUploads:
    """An original, and the renditions that are to be made of it and stored beside it."""

    original: OriginalUpload
    original_body: bytes = field(repr=False)
    plan: tuple[PlannedRendition, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The memory that is held while it is not stored: renditions are encoded again."""
        return len(self.original_body)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRendition:
    """A rendition that is stored, with its bytes."""

    upload: RenditionUpload
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUploads:
    """An original that is stored, and the renditions that are stored beside it, the one asked for first."""

    original: OriginalUpload
    original_body: bytes = field(repr=False)
    renditions: tuple[StoredRendition, ...] = ()

    def recorded(self, entry: Entry) -> LookupResult:
        """The result as recorded: `entry` stands for the first rendition, or for the original.

        One with another path is another process's, and so are its bytes.
        """
        if entry.is_original:
            return LookupResult(entry=entry, outcome=Outcome.GENERATED, body=self.original_body)
        first, *others = self.renditions
        is_ours = first.upload.path == entry.path
        return LookupResult(
            entry=entry,
            outcome=Outcome.GENERATED,
            body=first.body if is_ours else None,
            original=self._result_of(entry, self.original, original_key(entry.generation_key), self.original_body),
            # Written ahead and completed with the first: they stand where it does.
            beside=tuple(self._result_of(entry, each.upload, each.upload.key, each.body) for each in others)
            if is_ours
            else (),
        )

    def _result_of(self, entry: Entry, upload: Upload, key: str, body: bytes) -> LookupResult:
        stands = upload.as_entry(
            kind=entry.kind, key=key, generation_key=entry.generation_key, is_original=upload is self.original
        )
        stands = replace(
            stands,
            placeholder=self.original.placeholder,
            encoder_version=0 if stands.is_original else entry.encoder_version,
            is_ai_made=self.original.is_ai_made,
        )
        return LookupResult(entry=stands, outcome=Outcome.GENERATED, body=body)
