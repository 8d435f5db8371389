"""When a process tells CDNs what they are to forget: beside its work steps, at most every few seconds."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError
from copperplate.operations.cdn_purges import LATE, CdnReport
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from copperplate.operations.cdn_purges import CdnPurges
    from copperplate.ports import Clock

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 5.0


class CdnWork:
    """Runs of `CdnPurges`, one after the other. A process has one; `note_due` asks for a work step.

    `told` counts what CDNs were told to forget, those once more included.
    """

    def __init__(self, purges: CdnPurges, clock: Clock, *, note_due: Callable[[], None]) -> None:
        self._purges = purges
        self._clock = clock
        self._note_due = note_due
        self._running: asyncio.Task[None] | None = None
        self._report = CdnReport()
        self._begun_at = -math.inf
        self.told = 0

    def note_purges(self, due: AbstractSet[str]) -> None:
        """The feed says that purges of these scopes wait; those without a CDN here are for others."""
        if self._may_begin and not due.isdisjoint(self._purges.scopes):
            self._note_due()

    def begin_if_due(self) -> None:
        """Begin a run in the background, unless one is under way or began less than five seconds ago."""
        if not self._may_begin:
            return
        self._begun_at = self._clock.monotonic()
        self._running = asyncio.create_task(self._run())

    @property
    def _may_begin(self) -> bool:
        is_paused = self._clock.monotonic() < self._begun_at + PAUSE_SECONDS
        return not self._purges.is_off and self._running is None and not is_paused

    async def finish(self, *, within_seconds: float) -> None:
        """Wait for the run under way; a late one is broken off, and what it took is taken by another later."""
        if (running := self._running) is None:
            return
        await asyncio.wait((running,), timeout=within_seconds)
        if not running.done():
            running.cancel()
            await asyncio.wait((running,))

    async def empty(self, *, most_runs: int = 10) -> None:
        """Run until nothing is due; what is to be told once more is waited for, what failed is not."""
        for number in range(most_runs):
            if self._running is None:
                self._running = asyncio.create_task(self._run())
            await asyncio.wait((self._running,))
            report = self._report
            if report.errors or not report.told:
                return
            if number < most_runs - 1:
                await self._clock.sleep(LATE.total_seconds() if report.again else 0.0)

    async def _run(self) -> None:
        self._report = CdnReport()
        try:
            self._report = await self._purges.run()
            self.told += self._report.told
            for error in self._report.errors:
                logger.warning("a CDN is told again later what it is to forget: %s", error)
        except CopperplateError as error:
            logger.warning("CDNs are told later what they are to forget: %s", error.code)
        except Exception as error:  # noqa: BLE001 - the next run may go well
            log_unexpected(error, "purges of CDNs")
        finally:
            self._running = None
