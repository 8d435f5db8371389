"""The pictures that this process holds in memory while they are brought: one copy of each, and all of them bounded."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from copperplate.generation.digests import digest_of
from copperplate.model import MAX_PICTURE_BYTES
from copperplate.processing.held_pictures import HeldPicture
from copperplate.processing.upload_shares import PART, Shares, wait_until
from copperplate.source_errors import TooManyUploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MAX_READ_AT_ONCE: Final = 64
# Of the largest, four.
MAX_HELD_BYTES: Final = 4 * MAX_PICTURE_BYTES
# So long a picture waits for a place and for room.
ROOM_SECONDS: Final = 10.0
_FULL: Final = "This server holds as many bytes of uploads as it may."
_BUSY: Final = "This server reads as many uploads at once as it may."


class Reading:
    """The bytes of one picture while they arrive."""

    def __init__(self, budget: UploadBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    async def add(self, size_bytes: int) -> float:
        """Hold so many more. Answers how many seconds it waited for room; raises `TooManyUploads` after ten."""
        if self.held_bytes + size_bytes > self._budget.max_held_bytes:
            raise TooManyUploads(_FULL)
        waited_seconds = await _wait_until(lambda: self._budget.has_room(self, size_bytes), _FULL)
        self.held_bytes += size_bytes
        return waited_seconds

    async def finish(self, body: bytes) -> HeldPicture:
        """The picture that came. Where the same bytes are held already these are let go."""
        picture = await self._budget.hold(body)
        self.held_bytes = 0
        return picture


class UploadBudget:
    """The pictures of all callers of a process. Bytes on their way to a store or to a provider are not counted."""

    def __init__(self, *, max_read_at_once: int = MAX_READ_AT_ONCE, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_read_at_once = max_read_at_once
        self.max_held_bytes = max_held_bytes
        self.shares = Shares(max_places=max(1, max_read_at_once // PART), max_bytes=max_held_bytes // PART)
        self._readings: set[Reading] = set()
        self._pictures: WeakValueDictionary[str, HeldPicture] = WeakValueDictionary()
        # The one that may have the last quarter: pictures that are all half read would wait for each other.
        self._first: Reading | None = None

    @property
    def held_bytes(self) -> int:
        """What is held at this moment."""
        arriving = sum(reading.held_bytes for reading in self._readings)
        return arriving + sum(picture.held_bytes for picture in self._pictures.values())

    def has_room(self, reading: Reading, size_bytes: int) -> bool:
        """Whether this one may hold so many bytes more."""
        held_bytes = self.held_bytes + size_bytes
        if held_bytes <= self.max_held_bytes * 3 // 4:
            return True
        if held_bytes > self.max_held_bytes or self._first not in (None, reading):
            return False
        self._first = reading
        return True

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """A place among the pictures that are read, waited for. Raises `TooManyUploads` after ten seconds."""
        await _wait_until(lambda: len(self._readings) < self._max_read_at_once, _BUSY)
        reading = Reading(self)
        self._readings.add(reading)
        try:
            yield reading
        finally:
            self._readings.remove(reading)
            if self._first is reading:
                self._first = None

    async def hold(self, body: bytes) -> HeldPicture:
        """The picture of these bytes: the one that is held already, or a new one, for which nobody waits."""
        digest = await digest_of(body)
        picture = self._pictures.get(digest)
        if picture is None:
            picture = HeldPicture(digest=digest, size_bytes=len(body), body=body)
            self._pictures[digest] = picture
        return picture


async def _wait_until(condition: Callable[[], bool], refusal: str) -> float:
    return await wait_until(condition, within_seconds=ROOM_SECONDS, refusal=lambda: TooManyUploads(refusal))
