"""Work in a server process: steps for as long as it runs, whenever something may be due."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError
from copperplate.repeats import nap
from copperplate.unexpected import log_unexpected
from copperplate.work.step import WORK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.ports import Clock, Ledger
    from copperplate.work.step import WorkStep

logger = logging.getLogger(__name__)

# Between two steps where no hint comes. What a dead process left is due when its lease ran out.
PAUSE_SECONDS: Final = 5.0


@contextlib.asynccontextmanager
async def background_work(work: WorkStep, *, ledger: Ledger, clock: Clock) -> AsyncIterator[None]:
    """Steps run while the block does. What they took goes on at its end: `WorkStep.shut_down` sees to that."""
    going_on = asyncio.create_task(_go_on(work, ledger, clock))
    try:
        yield
    finally:
        work.stop()
        going_on.cancel()
        await asyncio.wait((going_on,))


async def _go_on(work: WorkStep, ledger: Ledger, clock: Clock) -> None:
    is_away = False
    with ledger.hints(WORK) as hint:
        while not work.is_stopped:
            # Each process at its own moments, the first one soon after the start.
            await nap(clock, PAUSE_SECONDS * random.uniform(0.2, 1.2), hint)  # noqa: S311 - jitter, not a secret
            try:
                await work.run(within_seconds=math.inf)
                is_away = False
            except CopperplateError as error:
                if not is_away:  # logged once, not with every try
                    logger.warning("promised pictures wait until the database answers: %s", error.code)
                is_away = True
            except Exception as error:  # noqa: BLE001 - the next step may go well
                log_unexpected(error, "background work")
