"""A lease as far as one process may trust it: it is renewed by a heartbeat, and given up."""

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
    """The right to generate, as far as this process may trust it: until our clock says otherwise."""

    key: str
    fence: int
    trusted_until: float
    ledger: Ledger = field(repr=False)
    clock: Clock = field(repr=False)
    timings: Timings = field(repr=False)
    is_refused: bool = False

    def check(self) -> None:
        """Raise `LeaseLost` unless the lease is certainly still ours."""
        if self.clock.monotonic() >= self.trusted_until:
            raise LeaseLost

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renew the lease while the body runs. A lost lease shows at the next `check`."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            # Waited for, not awaited: its cancellation must not hide one of our own.
            await asyncio.wait((beating,))

    async def release(self) -> None:
        """Give up the lease, so that a successor need not wait until it runs out."""
        with contextlib.suppress(LedgerUnavailable, LedgerMisconfigured):
            await self.ledger.heartbeat(self.key, self.fence, timedelta(0))

    async def retry_until_recorded(self, record: Callable[[], Awaitable[bool]]) -> bool:
        """The ledger's answer to `record`, asked again until the wait timeout while the ledger does not record it.

        What was paid for is known to this process alone until it is recorded. A lease that ran out meanwhile does
        no harm: while the ledger is away no process takes it over, and afterwards the fence decides.
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
                pause = RETRY_SECONDS  # what is left of the lease is no time to wait out
            else:
                self.trusted_until = asked_at + self.timings.trusted_seconds
                pause = self.timings.heartbeat.total_seconds()
