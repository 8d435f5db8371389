"""Settling in the ledger, which nothing waits for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from copperplate.ports import Wishes
    from copperplate.wishes import Settlement

# The end of a process waits for it.
SETTLE_SECONDS: Final = 2.0


async def settle(ledger: Wishes, wish: int, settlement: Settlement) -> None:
    """Settle a wish, for two seconds at most.

    One that could not be settled is due again when its hold is over; whoever takes it then finds what became of it.
    """
    with contextlib.suppress(CopperplateError, TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            await ledger.settle_wish(wish, settlement)
