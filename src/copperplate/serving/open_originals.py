"""Originals that are open for as long as somebody waits for a rendition of them: fetched once, decoded once."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import StillGenerating, TooManyWaiters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from copperplate.ports import Images, OpenPicture

# Renditions that wait at the same time: twice as many of one picture as a srcset has, and of all pictures together.
MAX_USERS_EACH: Final = 64
MAX_USERS: Final = 256


@dataclass(slots=True, eq=False)
class _Original:
    picture: asyncio.Future[OpenPicture]
    opening: asyncio.Task[None]
    users: int = 0


class OpenOriginals:
    """Opens originals, and shares one that is open. Raises `TooManyWaiters` where enough wait for it, or at all."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._open: dict[str, _Original] = {}
        self._users = 0

    @contextlib.asynccontextmanager
    async def use(
        self, path: str, *, model: str | None, load: Callable[[], Awaitable[bytes]]
    ) -> AsyncIterator[OpenPicture]:
        """The original at `path`, open until the last user's block ends; raises what `load` and `Images.open` raise."""
        original = self._open.get(path)
        if self._users >= MAX_USERS or (original is not None and original.users >= MAX_USERS_EACH):
            raise TooManyWaiters
        if original is None:
            original = self._open[path] = self._begin(model, load)
        original.users += 1
        self._users += 1
        try:
            # Waited for, not awaited: who is cancelled must not cancel the others' picture.
            await asyncio.wait((original.picture,))
            yield original.picture.result()
        finally:
            original.users -= 1
            self._users -= 1
            if not original.users:
                del self._open[path]
                original.opening.cancel()

    def _begin(self, model: str | None, load: Callable[[], Awaitable[bytes]]) -> _Original:
        picture: asyncio.Future[OpenPicture] = asyncio.get_running_loop().create_future()
        return _Original(picture, asyncio.create_task(self._hold_open(picture, model, load)))

    async def _hold_open(
        self, picture: asyncio.Future[OpenPicture], model: str | None, load: Callable[[], Awaitable[bytes]]
    ) -> None:
        """Open the picture and hold it until cancelled. Opened and closed by one task, whoever uses it."""
        try:
            async with self._images.open(await load(), model=model, is_urgent=False) as opened:
                picture.set_result(opened)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            _tell(picture, StillGenerating())  # the process ends while its bytes are read
            raise
        except Exception as error:  # noqa: BLE001 - every user is told, whatever it is
            _tell(picture, error)


def _tell(picture: asyncio.Future[OpenPicture], error: Exception) -> None:
    if not picture.done():
        picture.set_exception(error)
        picture.exception()  # retrieve it, or asyncio warns: its users may have left
