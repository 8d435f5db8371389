"""Hints that a key may have changed, from one announcer to many watchers in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Notifier:
    """One event per watcher. Nothing correct may depend on a hint arriving."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, dict[asyncio.Event, None]] = defaultdict(dict)  # woken in order

    @contextlib.contextmanager
    def watch(self, key: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever `key` is announced while the block runs."""
        event = asyncio.Event()
        self._watchers[key][event] = None
        try:
            yield event
        finally:
            del self._watchers[key][event]
            if not self._watchers[key]:
                del self._watchers[key]

    def announce(self, key: str) -> None:
        """Wake the watchers of `key`."""
        for event in self._watchers.get(key, ()):
            event.set()

    def announce_all(self) -> None:
        """Wake everybody: something may have been missed."""
        for key in tuple(self._watchers):
            self.announce(key)
