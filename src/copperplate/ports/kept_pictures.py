"""Kept pictures by any of their names, what is known of one, and placeholders for those that have none."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from copperplate.model import Placeholder, Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import Entry


def placeholder_of(row: Mapping[str, Any]) -> Placeholder | None:
    """The placeholder in two columns; None where it is not known yet."""
    if row["thumbhash"] is None or row["color"] is None:
        return None
    return Placeholder(thumbhash=b64decode(row["thumbhash"]), color=row["color"])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """The entry that a name stands for, with what never changes of it. `canvas` is what was asked for."""

    kind: str
    generation_key: str
    model: str
    canvas: Size
    key: str
    format: str
    quality: int | None
    size: Size
    is_original: bool
    is_sized: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> KeptPicture:
        """A row of `find_kept`."""
        return cls(
            kind=row["kind"],
            generation_key=row["generation_key"],
            model=row["model"],
            canvas=_size_of(row["dimensions"]),
            key=row["key"],
            format=row["format"],
            quality=row["quality"],
            size=Size(width=row["width"], height=row["height"]),
            is_original=row["is_original"],
            is_sized=row["is_sized"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptForm:
    """One form of a kept picture: the original, or a rendition (`quality` is None for png and originals)."""

    key: str
    path: str
    format: str
    size: Size
    quality: int | None
    size_bytes: int
    is_original: bool
    is_sized: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> KeptForm:
        """One of the entries that `describe_kept` lists."""
        return cls(
            key=row["key"],
            path=row["path"],
            format=row["format"],
            size=Size(width=row["width"], height=row["height"]),
            quality=row["quality"],
            size_bytes=row["size_bytes"],
            is_original=row["is_original"],
            is_sized=row["is_sized"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPictureInfo:
    """What is known of a kept picture. `forms` begins with its original.

    `generation_ms` runs from the first submit until the original was stored; None where nothing was submitted.
    """

    kind: str
    generation_key: str
    model: str
    canvas: Size
    created_at: datetime
    generation_ms: int | None
    has_c2pa: bool
    is_ai_made: bool
    placeholder: Placeholder | None
    forms: Sequence[KeptForm]

    @property
    def original(self) -> KeptForm:
        """The bytes as the provider made them."""
        return self.forms[0]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> KeptPictureInfo:
        """The answer of `describe_kept`."""
        return cls(
            kind=row["kind"],
            generation_key=row["generation_key"],
            model=row["model"],
            canvas=_size_of(row["dimensions"]),
            created_at=datetime.fromisoformat(row["created_at"]),
            generation_ms=row["generation_ms"],
            has_c2pa=row["has_c2pa"],
            is_ai_made=row["is_ai_made"],
            placeholder=placeholder_of(row),
            forms=tuple(KeptForm.from_row(each) for each in row["entries"]),
        )


class KeptPictures(Protocol):
    """What is kept, without changing any of it but placeholders. All raise as `Ledger` does."""

    async def find_kept(self, name: str) -> KeptPicture | None:
        """The entry of that name; None where nothing of that name is kept.

        A name is a rendition's key, a generation's key, which stands for its original, or that of an object,
        `[bucket/]YYYY/MM/<64 hex>.<ext>`.
        """

    async def describe_kept(self, generation_key: str) -> KeptPictureInfo | None:
        """What is known of a kept picture and of all its forms; None where it is not kept."""

    async def originals_without_placeholder(self, limit: int, *, after: str = "") -> Sequence[Entry]:
        """At most `limit` originals whose placeholder is not known, by their keys, those after the key `after`."""

    async def count_without_placeholder(self) -> int:
        """How many originals there are whose placeholder is not known."""

    async def set_placeholder(self, generation_key: str, placeholder: Placeholder | None) -> bool:
        """Note the placeholder of a kept picture on all its forms, or None that none can be made: nobody tries again.

        False where none of it is kept, or one was noted already.
        """


def _size_of(dimensions: str) -> Size:
    width, _, height = dimensions.partition("x")
    return Size(width=int(width), height=int(height))
