"""So many places and so many bytes, taken and given back in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque


class CapacityLimiter:
    """Admits work while there is a place and memory for it. Belongs to the event loop it is used in."""

    def __init__(self, *, places: int, size_bytes: int) -> None:
        self._places = places
        self._size_bytes = size_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, needed_bytes: int) -> None:
        """Wait for a place and `needed_bytes`; nobody overtakes, so the largest is not put off for ever."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((needed_bytes, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(needed_bytes)  # admitted in the very moment its caller went away
            else:
                self._waiting.remove((needed_bytes, turn))
                self._admit()
            raise

    def release(self, needed_bytes: int) -> None:
        """Give back what `acquire` was given."""
        self._places += 1
        self._size_bytes += needed_bytes
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._places > 0 and self._waiting[0][0] <= self._size_bytes:
            needed_bytes, turn = self._waiting.popleft()
            self._places -= 1
            self._size_bytes -= needed_bytes
            turn.set_result(None)
