"""One picture in the memory of a process, for all who bring it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copperplate.model import CleanPicture


@dataclass(slots=True, weakref_slot=True, kw_only=True, eq=False)
class HeldPicture:
    """A picture in memory, shared by all who bring it: as it came, and once it was cleaned, its clean copy instead.

    It is counted as long as anybody refers to it: a request, or whoever makes a result of it.
    """

    digest: str
    size_bytes: int
    body: bytes | None = field(repr=False)
    clean: CleanPicture | None = field(default=None, repr=False)

    @property
    def held_bytes(self) -> int:
        """What is in memory of it."""
        return (0 if self.body is None else len(self.body)) + (0 if self.clean is None else len(self.clean.body))

    def keep_clean(self, clean: CleanPicture) -> None:
        """Hold its clean copy, and no more what it was made from."""
        self.clean, self.body = clean, None
