"""What an owner decides about a picture for good: taken down, or pinned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Found(StrEnum):
    """What a key that was taken down turned out to be."""

    GENERATION = "generation"
    PICTURE = "picture"  # a rendition's key; its generation was taken down
    TOMBSTONE = "tombstone"  # it was taken down before
    SOURCE = "source"  # the digest of a source picture
    NOTHING = "nothing"  # of a picture nobody has, and taken down all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Takedown:
    """What a takedown found and removed. `objects` are pairs of bucket and path, `keys` are generations'.

    `is_new` is False where it was taken down before; then `objects` are those that the store may still have. `is_whole`
    is False where there are more descendants than one call removes.
    """

    found: Found
    generation_key: str
    is_new: bool
    generations: int  # descendants included
    descendants: int
    is_whole: bool
    images: int  # that people are shown
    size_bytes: int
    keys: Sequence[str]
    objects: Sequence[tuple[str, str]]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Takedown:
        """The answer of `take_down`."""
        return cls(
            found=Found(row["found"]),
            generation_key=row["generation_key"],
            is_new=row["is_new"],
            generations=row["generations"],
            descendants=row["descendants"],
            is_whole=row["is_whole"],
            images=row["images"],
            size_bytes=row["bytes"],
            keys=tuple(row["keys"]),
            objects=tuple((bucket, path) for bucket, path in row["objects"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The generation that was pinned or unpinned, its status, and whether that changed anything."""

    generation_key: str
    status: str
    is_new: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Pin:
        """The answer of `pin_picture` and `unpin_picture`."""
        return cls(generation_key=row["generation_key"], status=row["status"], is_new=row["is_new"])


class Takedowns(Protocol):
    """Every key is a generation's or a rendition's; a decision covers the generation and all of its renditions."""

    async def take_down(self, key: str, *, reason: str | None = None) -> Takedown:
        """Remove a picture and set its tombstone: from now on it is `Gone`, whoever asks, and never generated again.

        A leader at work on it loses its lease: what it still submits is refused, and what it stores is discarded.
        What was reserved is given back. A key of which nothing is known is taken down, too. Repeated, it changes
        nothing but to remove what is left.

        All that was made from it goes with it, and its bytes: nothing is made of them any more. The digest of a source
        picture takes down what was made from these bytes alone. What began beside it is closed by `acquire`,
        `begin_submit` and `complete`. `reason` is for the owner, at most 500 characters.
        """

    async def lift_takedown(self, key: str) -> bool:
        """Remove the tombstone, by the generation's key or the one that was taken down; False where there is none.

        Those that it took with it are lifted, too. One that follows another is not lifted alone: False.
        The next request generates the picture anew.
        """

    async def pin(self, key: str) -> Pin | None:
        """Keep a picture from all cleanups, for as long as its generation is known; None for an unknown key."""

    async def unpin(self, key: str) -> Pin | None:
        """Let a picture grow old again; None for an unknown key."""
