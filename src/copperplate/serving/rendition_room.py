"""The room in which renditions of kept originals are made: few at a time, one picture after the other.

Hits and paid misses need none of it: they have threads of their own, which go before these (docs/adr/0053).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from copperplate.errors import StillGenerating
from copperplate.serving.fair_turns import FairTurns
from copperplate.serving.open_originals import OpenOriginals
from copperplate.serving.pace import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from copperplate.ports import Images, OpenPicture

WAIT_SECONDS: Final = 30.0


class RenditionRoom:
    """Takes turns at encoding, one more than `Images` has threads for what is not urgent, so that none idles."""

    def __init__(self, images: Images) -> None:
        self._originals = OpenOriginals(images)
        self._turns = FairTurns(places=1 + (os.cpu_count() or 1) // 2, rest_after=Pace().rest_after)

    @contextlib.asynccontextmanager
    async def turn(
        self, path: str, *, model: str | None, load: Callable[[], Awaitable[bytes]]
    ) -> AsyncIterator[tuple[OpenPicture, bool]]:
        """The original at `path`, open, once it is its turn; and whether it waited for that.

        Raises `TooManyWaiters` where the line is full, `StillGenerating` after half a minute of waiting, and what
        `load` and `Images.open` raise.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    picture = await stack.enter_async_context(self._originals.use(path, model=model, load=load))
                    has_waited = await stack.enter_async_context(self._turns.turn(path))
            except TimeoutError:
                raise StillGenerating from None
            yield picture, has_waited
