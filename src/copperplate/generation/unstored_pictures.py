"""Paid pictures that the store did not take: held in memory, with their leases, until it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from copperplate.errors import LeaseLost, LedgerMisconfigured, LedgerUnavailable, StoreMisconfigured, StoreUnavailable
from copperplate.repeats import growing_pauses
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from copperplate.generation.lookup import LookupResult
    from copperplate.generation.pending_uploads import PendingUploads
    from copperplate.ports import Clock

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 64_000_000
# Each has a heartbeat (`Timings.heartbeat`).
MAX_PICTURES: Final = 256
# The store is tried at most twenty times a second, however many pictures are held.
SPACING_SECONDS: Final = 0.05
# Between two tries in the background. Each failed try keeps the store's breaker open, so the next must be in time.
FIRST_PAUSE_SECONDS: Final = 2.0
MAX_PAUSE_SECONDS: Final = 8.0
PAUSE_FACTOR: Final = 1.5
# Then the lease is released; the bytes stay for as long as there is room.
KEEP_SECONDS: Final = 3_600.0
# Errors that may be over at the next try: the picture is held on.
FAULTS: Final = (StoreUnavailable, StoreMisconfigured, LedgerUnavailable, LedgerMisconfigured)
KEPT_ON: Final = (*FAULTS, LeaseLost)


@dataclass(slots=True, kw_only=True, eq=False)
class UnstoredPicture:
    """One picture: its bytes as `pending`, and how they are stored.

    `finish` tries once to store and record them: it raises the errors of store and ledger, or `LeaseLost`. `hold`
    renews the lease while it is entered, `release` releases it.
    """

    pending: PendingUploads
    finish: Callable[[], Awaitable[LookupResult]]
    hold: Callable[[], AbstractAsyncContextManager[None]]
    release: Callable[[], Awaitable[None]]
    is_held: bool = True
    tries: int = 0
    error: Exception | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None


class UnstoredPictures:
    """The pictures that one process holds, by the key of their generation; bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pictures: dict[str, UnstoredPicture] = {}

    def add(self, key: str, picture: UnstoredPicture) -> bool:
        """Hold the picture until the store takes it. False without room: then the caller releases the lease."""
        self.forget(key)
        if not self._make_room(picture.pending.size_bytes):
            logger.error(
                "a paid picture is given up, there is no room to keep it beside %d others: "
                "the next caller collects its job again or, without one, pays for it again: key=%s",
                len(self._pictures),
                key[:12],
            )
            return False
        self._pictures[key] = picture
        picture.task = asyncio.create_task(self._store_later(key, picture))
        return True

    def find(self, key: str) -> PendingUploads | None:
        """The picture of that generation, also where another process has its lease."""
        picture = self._pictures.get(key)
        return None if picture is None else picture.pending

    def forget(self, key: str) -> None:
        """Drop the picture of that generation: it is stored, or superseded."""
        if (picture := self._pictures.pop(key, None)) is not None and picture.task is not None:
            picture.task.cancel()

    async def finish(self, key: str) -> LookupResult | None:
        """Try at once to store the picture held under our lease; None where there is none.

        Raises `StoreUnavailable`, `StoreMisconfigured`, `LedgerUnavailable`, `LedgerMisconfigured`: it is held on.
        """
        picture = self._pictures.get(key)
        if picture is None or not picture.is_held:
            return None
        try:
            return await self._try(key, picture)
        except LeaseLost:
            picture.is_held = False
            return None

    async def shut_down(self) -> None:
        """Release all leases, at the end of the process."""
        tasks = [picture.task for picture in self._pictures.values() if picture.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pictures.clear()

    async def _try(self, key: str, picture: UnstoredPicture) -> LookupResult | None:
        tries = picture.tries
        async with picture.turn:
            if self._pictures.get(key) is not picture:
                return None  # stored while this one waited for its turn
            if picture.tries > tries and picture.error is not None:
                raise picture.error  # the try that ended meanwhile stands for this one
            try:
                result = await picture.finish()
            except KEPT_ON as error:
                picture.tries, picture.error = picture.tries + 1, error
                raise
            except Exception as error:  # noqa: BLE001 - such as a path that is taken: no later try ends otherwise
                log_unexpected(error, "storing a kept picture")
                self._drop(key, picture)
                await self._give_up(picture)
                return None
            self._drop(key, picture)
            return result

    def _drop(self, key: str, picture: UnstoredPicture) -> None:
        # Another picture of that generation may be held by now.
        if self._pictures.get(key) is picture:
            del self._pictures[key]
        # Its heartbeat would renew the lease of what is over by now.
        if picture.task is not None and picture.task is not asyncio.current_task():
            picture.task.cancel()

    async def _give_up(self, picture: UnstoredPicture) -> None:
        if picture.is_held:
            picture.is_held = False
            await picture.release()

    async def _store_later(self, key: str, picture: UnstoredPicture) -> None:
        give_up_at = self._clock.monotonic() + KEEP_SECONDS
        pauses = growing_pauses(FIRST_PAUSE_SECONDS, factor=PAUSE_FACTOR, max_seconds=MAX_PAUSE_SECONDS)
        try:
            async with picture.hold():
                while self._clock.monotonic() < give_up_at:
                    await self._clock.sleep(max(next(pauses), SPACING_SECONDS * len(self._pictures)))
                    with contextlib.suppress(*FAULTS):
                        await self._try(key, picture)
                    if self._pictures.get(key) is not picture:
                        return
        except LeaseLost:
            picture.is_held = False
            return
        finally:
            if self._pictures.get(key) is picture:
                await self._give_up(picture)

    def _make_room(self, size_bytes: int) -> bool:
        """Drop pictures whose lease is lost, and no others, until there is room."""
        for key in [key for key, picture in self._pictures.items() if not picture.is_held]:
            if self._has_room(size_bytes):
                break
            del self._pictures[key]
        return self._has_room(size_bytes)

    def _has_room(self, size_bytes: int) -> bool:
        kept_bytes = sum(picture.pending.size_bytes for picture in self._pictures.values())
        return len(self._pictures) < MAX_PICTURES and kept_bytes + size_bytes <= MAX_BYTES
