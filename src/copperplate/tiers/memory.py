"""Pictures in memory: those used longest ago make room, for such as were asked for since then (ADR 0068)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from copperplate.feed import Tier
from copperplate.ports.tiers import TierFigures

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.ports import Clock
    from copperplate.ports.tiers import Copy

# What an entry costs beside its bytes.
OVERHEAD_BYTES: Final = 2_000
# Keys of which is known when they were asked for, for each entry there is room for.
SIGHTINGS: Final = 10


class MemoryItem:
    """A copy in memory. `answers` is for whoever sends it, who alone reads and writes it."""

    __slots__ = ("answers", "copy", "kept_at", "old_at", "used_at")

    def __init__(self, copy: Copy, kept_at: float, old_at: float, used_at: int) -> None:
        self.copy = copy
        self.kept_at = kept_at  # in seconds of the monotonic clock
        self.old_at = old_at
        self.used_at = used_at  # counted in uses of the tier
        self.answers: Any = None


class MemoryTier:
    """At most `max_pictures` and `max_bytes`, each for `max_age_seconds`. All of it runs without yielding.

    Once it is full, a picture enters if it was asked for a second time, the first time since whatever makes room for it
    was used last. So what is asked for once displaces nothing, and what nobody asks for any more is displaced at once.
    """

    def __init__(self, clock: Clock, *, max_pictures: int, max_bytes: int, max_age_seconds: float) -> None:
        self._clock = clock
        self._max_pictures = max_pictures
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._items: OrderedDict[str, MemoryItem] = OrderedDict()
        self._keys_of: dict[str, set[str]] = {}  # by generation
        # When keys that are not in it were asked for last.
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._uses = 0
        self._bytes = 0

    def find(self, key: str, now: float | None = None) -> MemoryItem | None:
        """The copy of that rendition, if it is not too old at `now` by the monotonic clock; None: however old it is."""
        item = self._items.get(key)
        # One that is too old stays until a newer one takes its place: it is served while the ledger does not answer.
        if item is None or (now is not None and now > item.old_at):
            return None
        self._items.move_to_end(key)
        self._uses += 1
        item.used_at = self._uses
        return item

    def seconds_left(self, key: str) -> float:
        """How long the copy of that rendition may still be found; 0 where there is none."""
        item = self._items.get(key)
        return 0.0 if item is None else item.old_at - self._clock.monotonic()

    def keep(self, copy: Copy) -> bool:
        """Keep a copy, if there is room or it may take that of others; answers whether it was kept."""
        key, size = copy.entry.key, _size_of(copy)
        if size > self._max_bytes:
            return False
        self._uses += 1
        if key in self._items:
            self._remove(key)
            victims = self._victims(size)
        else:
            victims, seen_at = self._victims(size), self._seen.pop(key, 0)
            if any(self._items[victim].used_at > seen_at for victim in victims):
                self._note_sighting(key)
                return False
        for victim in victims:
            self._remove(victim)
        now = self._clock.monotonic()
        self._items[key] = MemoryItem(copy, now, now + self._max_age_seconds, self._uses)
        self._keys_of.setdefault(copy.entry.generation_key, set()).add(key)
        self._bytes += size
        return True

    def drop_wrong(self, generation_key: str | None, is_right: Callable[[Copy], bool]) -> None:
        """Forget the copies of a generation, or of all, that are not right."""
        keys = self._items if generation_key is None else self._keys_of.get(generation_key, ())
        for key in [key for key in keys if not is_right(self._items[key].copy)]:
            self._remove(key)

    def drop(self, key: str) -> None:
        """Forget the copy of that rendition."""
        if key in self._items:
            self._remove(key)

    def figures(self) -> TierFigures:
        """What is in it."""
        now = self._clock.monotonic()
        oldest = max((now - item.kept_at for item in self._items.values()), default=None)
        return TierFigures(tier=Tier.MEMORY, entries=len(self._items), bytes=self._bytes, oldest_seconds=oldest)

    def _victims(self, size: int) -> list[str]:
        """What has to go for a picture that takes so many bytes, used longest ago first."""
        victims: list[str] = []
        too_many = len(self._items) + 1 - self._max_pictures
        too_large = self._bytes + size - self._max_bytes
        for key, item in self._items.items():
            if len(victims) >= too_many and too_large <= 0:
                break
            victims.append(key)
            too_large -= _size_of(item.copy)
        return victims

    def _note_sighting(self, key: str) -> None:
        self._seen[key] = self._uses
        if len(self._seen) > SIGHTINGS * self._max_pictures:
            self._seen.popitem(last=False)

    def _remove(self, key: str) -> None:
        copy = self._items.pop(key).copy
        self._bytes -= _size_of(copy)
        keys = self._keys_of[copy.entry.generation_key]
        keys.discard(key)
        if not keys:
            del self._keys_of[copy.entry.generation_key]


def _size_of(copy: Copy) -> int:
    return len(copy.body or b"") + OVERHEAD_BYTES
