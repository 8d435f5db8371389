"""Turns at work, handed to one picture after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class FairTurns:
    """So many turns at the same time. However many wait for one picture, the next of another is at most one turn away.

    Whoever is cancelled leaves the line. A place stays empty for `rest_after` the
    seconds that its turn lasted.
    """

    def __init__(self, places: int, *, rest_after: Callable[[float], float] = lambda _: 0.0) -> None:
        self._free = places
        self._rest_after = rest_after
        # The picture whose turn is next comes first.
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, picture: str) -> AsyncIterator[bool]:
        """Wait for a turn; it lasts as long as the block. Answers whether there was a wait."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._lines.setdefault(picture, deque()).append(turn)
        self._admit()
        has_waited = not turn.done()
        began: float | None = None  # whoever is cancelled in the moment of the turn has it, for no time
        try:
            await turn
            began = loop.time()
            yield has_waited
        finally:
            if not turn.cancelled():
                self._end(loop, self._rest_after(0.0 if began is None else loop.time() - began))
            elif turn in self._lines.get(picture, ()):
                self._leave(picture, turn)

    def _end(self, loop: asyncio.AbstractEventLoop, rest_seconds: float) -> None:
        if rest_seconds:
            loop.call_later(rest_seconds, self._end, loop, 0.0)
        else:
            self._free += 1
            self._admit()

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
