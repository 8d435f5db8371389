"""What this process holds of uploads: bounded in number while they are read, and in bytes until they are answered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from copperplate.model import MAX_PICTURE_BYTES
from copperplate.source_errors import TooManyUploads

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_READ_AT_ONCE: Final = 64
# Four of the largest.
MAX_HELD_BYTES: Final = 4 * MAX_PICTURE_BYTES


class Held:
    """The bytes that one request holds."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.size_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Hold so many more. Raises `TooManyUploads`."""
        self._uploads.require(size_bytes)
        self._uploads.held_bytes += size_bytes
        self.size_bytes += size_bytes


class Uploads:
    """The uploads of a process, all callers together."""

    def __init__(self, *, max_read_at_once: int = MAX_READ_AT_ONCE, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_read_at_once = max_read_at_once
        self._max_held_bytes = max_held_bytes
        self._read_at_once = 0
        self.held_bytes = 0

    def require(self, size_bytes: int) -> None:
        """Raises `TooManyUploads` where so many bytes more are too many."""
        if self.held_bytes + size_bytes > self._max_held_bytes:
            raise TooManyUploads("This server holds as many bytes of uploads as it may.")

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """A place among the uploads that are read. Raises `TooManyUploads`."""
        if self._read_at_once >= self._max_read_at_once:
            raise TooManyUploads("This server reads as many uploads at once as it may.")
        self._read_at_once += 1
        try:
            yield
        finally:
            self._read_at_once -= 1

    @contextlib.contextmanager
    def holding(self) -> Iterator[Held]:
        """What one request holds until it is answered."""
        held = Held(self)
        try:
            yield held
        finally:
            self.held_bytes -= held.size_bytes
