"""Copies on disk that are not right, removed although nobody asks for them."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Final

from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.feed import FeedPage, Tier
    from copperplate.ports import Clock
    from copperplate.ports.tiers import Copy, CopyTier
    from copperplate.tiers.coherence import Coherence


logger = logging.getLogger(__name__)

# A process looks through its folder this often at most. The first time so long after its start.
PAUSE_SECONDS: Final = 5.0
# While looks do not see all, each pause is twice the one before, up to this.
MOST_PAUSE_SECONDS: Final = 320.0
LEFT: Final = "copies on disk that are not right may be left there; the process looks again, less and less often"


class Removals:
    """Has tiers remove what pages of the feed made wrong, and what is too old to be judged, behind all requests.

    Whoever asks for such a copy is not answered with it anyway. This is for the file: of a picture that was taken down
    none may be left.
    """

    def __init__(self, tiers: Sequence[CopyTier], coherence: Coherence, clock: Clock) -> None:
        self._tiers = tiers
        self._coherence = coherence
        self._clock = clock
        self._pause_seconds = PAUSE_SECONDS
        self._next_at = clock.monotonic() + PAUSE_SECONDS
        self._is_due = self._is_closed = False
        self._removing: asyncio.Task[None] | None = None

    def note(self, page: FeedPage) -> None:
        """A page was read. What it names is removed soon, though no other page be read; what failed, after the next."""
        self._is_due = self._is_due or bool(page.invalidations) or not page.is_continued
        if self._is_due and self._tiers and self._removing is None and not self._is_closed:
            # In no request's context: no call waits for it.
            self._removing = asyncio.create_task(self._remove(), context=Context())

    def look_again(self) -> None:
        """After the next page, whatever that says."""
        self._is_due = True

    async def close(self) -> None:
        """Remove no more."""
        self._is_closed = True
        if self._removing is not None:
            self._removing.cancel()
            await asyncio.wait((self._removing,))

    async def _remove(self) -> None:
        try:
            has_seen_all = True
            while self._is_due and has_seen_all:
                if (seconds := self._next_at - self._clock.monotonic()) > 0:
                    await self._clock.sleep(seconds)
                self._is_due = False
                has_seen_all = await self._look()
                self._note_look(has_seen_all=has_seen_all)
            self._is_due = self._is_due or not has_seen_all
        finally:
            self._removing = None

    def _note_look(self, *, has_seen_all: bool) -> None:
        if has_seen_all:
            self._pause_seconds = PAUSE_SECONDS
        else:
            if self._pause_seconds == PAUSE_SECONDS:
                logger.warning(LEFT)
            self._pause_seconds = min(2 * self._pause_seconds, MOST_PAUSE_SECONDS)
        self._next_at = self._clock.monotonic() + self._pause_seconds

    async def _look(self) -> bool:
        """Whether every copy was seen, and is gone where it is not right."""
        try:
            seen = [
                await tier.remove_wrong(self._coherence.database, self._judge_of(tier.tier)) for tier in self._tiers
            ]
        except Exception as error:  # noqa: BLE001 - such copies are answered to nobody, and the next page tries again
            log_unexpected(error, "removing copies that are wrong")
            return False
        return all(seen)

    def _judge_of(self, tier: Tier) -> Callable[[Copy], bool]:
        return lambda copy: self._coherence.is_right(copy, tier)
