"""Turns at work, handed to one picture after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FairTurns:
    """So many turns at the same time. However many wait for one picture, the next of another is at most one turn away.

    Whoever is cancelled leaves the line.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        # The picture whose turn is next comes first.
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, picture: str) -> AsyncIterator[bool]:
        """Wait for a turn; it lasts as long as the block. Answers whether there was a wait."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(picture, deque()).append(turn)
        self._admit()
        has_waited = not turn.done()
        try:
            await turn
            yield has_waited
        finally:
            if not turn.cancelled():
                self._free += 1
                self._admit()
            elif turn in self._lines.get(picture, ()):
                self._leave(picture, turn)

    def _admit(self) -> None:
        while self._free and self._lines:
            picture, line = next(iter(self._lines.items()))
            turn = line[0]
            self._leave(picture, turn)
            if turn.cancelled():  # its task has not come to leave by itself
                continue
            if picture in self._lines:
                self._lines[picture] = self._lines.pop(picture)
            self._free -= 1
            turn.set_result(None)

    def _leave(self, picture: str, turn: asyncio.Future[None]) -> None:
        line = self._lines[picture]
        line.remove(turn)
        if not line:
            del self._lines[picture]
