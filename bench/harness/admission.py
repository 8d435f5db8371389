"""Caches that are measured beside ours, and the requests they are measured by."""

from __future__ import annotations

import bisect
import itertools
import random
from collections import OrderedDict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from copperplate.adapters.system_clock import SystemClock
from copperplate.feed import Cursor
from copperplate.model import Entry
from copperplate.ports.tiers import Copy
from copperplate.tiers.memory import MemoryTier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOT_KEYS: Final = 50
ENTRY: Final = Entry(
    kind="image",
    key="",
    generation_key="",
    path="",
    digest="",
    size_bytes=7,
    format="webp",
    width=64,
    height=64,
    is_original=False,
)
COPY: Final = Copy(entry=ENTRY, cursor=Cursor(1, 1), database="", body=b"a body.")


class Cache(Protocol):
    """What is measured."""

    def get(self, key: str) -> object:
        """What is kept of that key, or None."""

    def put(self, key: str) -> None:
        """Called after a `get` that found nothing."""


class Unbounded:
    """A dictionary: the least that a cache can cost."""

    def __init__(self, capacity: int) -> None:
        self._items: dict[str, Copy] = {}

    def get(self, key: str) -> object:
        return self._items.get(key)

    def put(self, key: str) -> None:
        self._items[key] = COPY


class Lru:
    """The least recently used goes first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.items: OrderedDict[str, Copy] = OrderedDict()

    def get(self, key: str) -> object:
        item = self.items.get(key)
        if item is not None:
            self.items.move_to_end(key)
        return item

    def put(self, key: str) -> None:
        self.items[key] = COPY
        if len(self.items) > self.capacity:
            self.items.popitem(last=False)


class Doorkeeper(Lru):
    """An LRU that, once it is full, keeps a key at its second sighting."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._seen: OrderedDict[str, None] = OrderedDict()

    def put(self, key: str) -> None:
        if len(self.items) >= self.capacity:
            if key not in self._seen:
                self._seen[key] = None
                if len(self._seen) > 10 * self.capacity:
                    self._seen.popitem(last=False)
                return
            del self._seen[key]
        super().put(key)


class S3Fifo:
    """Three queues: a small one for what is new, the main one, and keys that left the small one (Yang et al., 2023)."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._small_capacity = capacity, max(1, capacity // 10)
        self._small: deque[str] = deque()
        self._main: deque[str] = deque()
        self._ghost: OrderedDict[str, None] = OrderedDict()
        self._items: dict[str, Copy] = {}
        self._uses: dict[str, int] = {}

    def get(self, key: str) -> object:
        item = self._items.get(key)
        if item is not None:
            self._uses[key] = min(3, self._uses[key] + 1)
        return item

    def put(self, key: str) -> None:
        while len(self._items) >= self._capacity:
            self._evict()
        self._items[key], self._uses[key] = COPY, 0
        if key in self._ghost:
            del self._ghost[key]
            self._main.append(key)
        else:
            self._small.append(key)

    def _evict(self) -> None:
        if len(self._small) > self._small_capacity or not self._main:
            while self._small:
                key = self._small.popleft()
                if self._uses[key]:
                    self._main.append(key)
                    self._uses[key] = 0
                else:
                    self._ghost[key] = None
                    if len(self._ghost) > self._capacity:
                        self._ghost.popitem(last=False)
                    self._forget(key)
                    return
        while self._main:
            key = self._main.popleft()
            if not self._uses[key]:
                self._forget(key)
                return
            self._uses[key] -= 1
            self._main.append(key)

    def _forget(self, key: str) -> None:
        del self._items[key], self._uses[key]


class Ours:
    """The tier in memory as it is, with its entries, generations and ages."""

    def __init__(self, capacity: int) -> None:
        self._clock = SystemClock()
        self._tier = MemoryTier(self._clock, max_pictures=capacity, max_bytes=10**9, max_age_seconds=3600)

    def get(self, key: str) -> object:
        return self._tier.find(key, self._clock.monotonic())

    def put(self, key: str) -> None:
        self._tier.keep(replace(COPY, entry=replace(ENTRY, key=key, generation_key=key)))


CACHES: Final[dict[str, Callable[[int], Cache]]] = {
    "dict, unbounded": Unbounded,
    "OrderedDict LRU": Lru,
    "LRU + doorkeeper": Doorkeeper,
    "S3-FIFO": S3Fifo,
    "ours": Ours,
}


def is_hit(cache: Cache, key: str) -> bool:
    """One request: found, or else kept."""
    if cache.get(key) is not None:
        return True
    cache.put(key)
    return False


def mixed_hits(cache: Cache, requests: int, *, seed: int) -> float:
    """The share of hits of requests to 10,000 keys, drawn by Zipf's law with 0.9."""
    chance = random.Random(seed)
    weights = list(itertools.accumulate((number + 1) ** -0.9 for number in range(10_000)))
    drawn = (bisect.bisect(weights, chance.random() * weights[-1]) for _ in range(requests))
    return sum(is_hit(cache, f"{key:064}") for key in drawn) / requests


def scanned_hits(cache: Cache, requests: int, *, once_each: int, seed: int) -> float:
    """The share of hits of requests to 50 hot keys, after each of which so many keys are asked for once."""
    return _share(list(_scan(cache, requests, once_each, seed=seed, hot="hot")))


def shifted_hits(cache: Cache, requests: int, *, once_each: int, seed: int) -> float:
    """The same after the hot keys are others, from the 200th request for those on: the share of the next 800."""
    list(_scan(cache, requests, once_each, seed=seed, hot="hot"))
    return _share(list(_scan(cache, 1_000, once_each, seed=seed + 1, hot="new"))[200:])


def _scan(cache: Cache, requests: int, once_each: int, *, seed: int, hot: str) -> Iterator[bool]:
    chance = random.Random(seed)
    for number in range(requests):
        yield is_hit(cache, f"{hot}-{chance.randrange(HOT_KEYS)}")
        for other in range(once_each):
            is_hit(cache, f"once-{hot}-{number}-{other}")


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
