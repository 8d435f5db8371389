"""A lease as far as one process may trust it, and the heartbeat that renews it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.crash import crash_point
from copperplate.errors import LeaseLost, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.leader import Timings, _Prints
    from copperplate.ports import Clock, Ledger

# Between two tries to tell the ledger what only this process knows.
INSIST_SECONDS = 0.2


@dataclass(slots=True)
class Lease:
    """The right to generate, as far as this process may trust it: until our clock says otherwise."""

    key: str
    fence: int
    trusted_until: float
    clock: Clock
    is_refused: bool = False
    # What was paid for under it and is not stored yet.
    unstored: _Prints | None = None

    def check(self) -> None:
        """Raise `LeaseLost` unless the lease is certainly still ours."""
        if self.clock.monotonic() >= self.trusted_until:
            raise LeaseLost


@contextlib.asynccontextmanager
async def keep(lease: Lease, ledger: Ledger, timings: Timings) -> AsyncIterator[None]:
    """Renew the lease while the body runs. A lost lease shows at the next `Lease.check`."""
    beating = asyncio.create_task(_beat(lease, ledger, timings))
    try:
        yield
    finally:
        beating.cancel()
        # Waited for, not awaited: its cancellation must not hide one of our own.
        await asyncio.wait((beating,))


async def _beat(lease: Lease, ledger: Ledger, timings: Timings) -> None:
    pause = timings.heartbeat.total_seconds()
    while True:
        await lease.clock.sleep(pause)
        crash_point("beating")
        # Counted from before the request left: the ledger's lease can only be longer.
        asked_at = lease.clock.monotonic()
        try:
            if not await ledger.heartbeat(lease.key, lease.fence, timings.lease):
                lease.trusted_until, lease.is_refused = asked_at, True
                return
        except LedgerUnavailable:
            pause = INSIST_SECONDS  # what is left of the lease is no time to wait out
        else:
            lease.trusted_until = asked_at + timings.trusted_seconds
            pause = timings.heartbeat.total_seconds()
