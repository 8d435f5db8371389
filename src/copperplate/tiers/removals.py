"""Copies on disk that were declared wrong, removed although nobody asks for them."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Final

from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.feed import FeedPage, Tier
    from copperplate.ports import Clock
    from copperplate.ports.tiers import Copy, CopyTier


# A process looks through its folder this often at most. The first time so long after its start.
PAUSE_SECONDS: Final = 5.0


class Removals:
    """Has tiers remove what pages of the feed made wrong, behind all requests.

    Whoever asks for such a copy is not answered with it anyway. This is for the file: of a picture that was taken down
    none may be left.
    """

    def __init__(self, tiers: Sequence[CopyTier], is_wrong: Callable[[Copy, Tier], bool], clock: Clock) -> None:
        self._tiers = tiers
        self._is_wrong = is_wrong
        self._clock = clock
        self._next_at = clock.monotonic() + PAUSE_SECONDS
        self._is_due = False
        self._removing: asyncio.Task[None] | None = None

    def note(self, page: FeedPage) -> None:
        """A page was read. What it names is removed now, or with one of the next pages."""
        self._is_due = self._is_due or bool(page.invalidations) or not page.is_continued
        if self._is_due and self._tiers and self._removing is None and self._clock.monotonic() >= self._next_at:
            self._is_due = False
            # In no request's context: no call waits for it.
            self._removing = asyncio.create_task(self._remove(), context=Context())

    async def close(self) -> None:
        """Remove no more."""
        self._next_at = float("inf")
        if self._removing is not None:
            self._removing.cancel()
            await asyncio.wait((self._removing,))

    def _judge_of(self, tier: Tier) -> Callable[[Copy], bool]:
        return lambda copy: self._is_wrong(copy, tier)

    async def _remove(self) -> None:
        try:
            for tier in self._tiers:
                await tier.remove_wrong(self._judge_of(tier.tier))
        except Exception as error:  # noqa: BLE001 - such copies are answered to nobody, and the next page tries again
            log_unexpected(error, "removing copies that are wrong")
        finally:
            self._next_at = max(self._next_at, self._clock.monotonic() + PAUSE_SECONDS)
            self._removing = None
