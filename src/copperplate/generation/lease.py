"""A lease as one process sees it: renewed by a heartbeat, trusted for less than its duration, released at the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.errors import LeaseLost, LedgerMisconfigured, LedgerUnavailable
from copperplate.generation.crash_points import crash_point
from copperplate.repeats import repeat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from copperplate.generation.timings import Timings
    from copperplate.ports import Clock, Ledger

# Between two tries to record in the ledger what only this process knows.
RETRY_SECONDS = 0.2


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """The right to generate; valid until `trusted_until` on our monotonic clock."""

    key: str
    fence: int
    trusted_until: float
    ledger: Ledger = field(repr=False)
    clock: Clock = field(repr=False)
    timings: Timings = field(repr=False)
    is_refused: bool = False

    def check(self) -> None:
        """Raise `LeaseLost` once the lease may have expired."""
        if self.clock.monotonic() >= self.trusted_until:
            raise LeaseLost

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renew the lease while the body runs. The next `check` raises if it was lost."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            # `wait` instead of `await`: the task's cancellation must not hide our own.
            await asyncio.wait((beating,))

    async def release(self) -> None:
        """Give up the lease, so that a successor need not wait until it runs out."""
        with contextlib.suppress(LedgerUnavailable, LedgerMisconfigured):
            await self.ledger.heartbeat(self.key, self.fence, timedelta(0))

    async def retry_until_recorded(self, record: Callable[[], Awaitable[bool]]) -> bool:
        """The ledger's answer to `record`, retried until the wait timeout while the ledger is unavailable.

        Until it is recorded, only this process knows what was paid for. Expiry of the lease meanwhile does no harm:
        no process can take it over without the ledger, and afterwards the fence decides.
        """
        return await repeat(
            record,
            errors=(LedgerUnavailable, LedgerMisconfigured),
            pauses=itertools.repeat(RETRY_SECONDS),
            within_seconds=self.timings.wait.total_seconds(),
            clock=self.clock,
        )

    async def _beat(self) -> None:
        pause = self.timings.heartbeat.total_seconds()
        while True:
            await self.clock.sleep(pause)
            crash_point("beating")
            # Counted from before the request left: the ledger's lease can only be longer.
            asked_at = self.clock.monotonic()
            try:
                if not await self.ledger.heartbeat(self.key, self.fence, self.timings.lease):
                    self.trusted_until, self.is_refused = asked_at, True
                    return
            except (LedgerUnavailable, LedgerMisconfigured):
                pause = RETRY_SECONDS  # retry soon: the lease may end before the next regular heartbeat
            else:
                self.trusted_until = asked_at + self.timings.trusted_seconds
                pause = self.timings.heartbeat.total_seconds()
