"""Keys of what failed a short while ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copperplate.ports import Clock


class RecentFailures:
    """Remembers the newest `size` keys for `seconds` each."""

    def __init__(self, clock: Clock, *, seconds: float, size: int = 1_024) -> None:
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._until: dict[str, float] = {}

    def add(self, key: str) -> None:
        """Remember `key` from now on; the oldest is forgotten for it."""
        self._until.pop(key, None)
        self._until[key] = self._clock.monotonic() + self._seconds
        if len(self._until) > self._size:
            del self._until[next(iter(self._until))]

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, self._clock.monotonic()) > self._clock.monotonic()
