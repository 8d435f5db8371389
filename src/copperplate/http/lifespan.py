"""Services for as long as a server runs."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from copperplate.compose import open_services
from copperplate.errors import Misconfigured, Unavailable
from copperplate.http.graceful_shutdown import draining_on_sigterm
from copperplate.settings import Settings
from copperplate.work.background import background_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.http.wiring import Wiring

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def lifespan(wiring: Wiring, settings: Settings | None = None) -> AsyncIterator[None]:
    """Open the services into `wiring` until the block ends, and work in the background; but on Vercel.

    `settings` are read from the environment by default.

    A wrong setting does not stop the server: its requests are answered with the fault.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            opening = open_services(Settings.from_env() if settings is None else settings)
            services = await stack.enter_async_context(opening)
            if services.settings.on_vercel and services.settings.log_level is not None:
                # Elsewhere the server that starts this process has set it.
                logging.getLogger("copperplate").setLevel(services.settings.log_level.upper())
            stack.enter_context(draining_on_sigterm(services))
            if not services.settings.on_vercel:  # there nothing runs between calls
                working = background_work(services.work, ledger=services.ledger, clock=services.clock)
                await stack.enter_async_context(working)
                services.tiers.start()
            wiring.open(services)
            stack.callback(wiring.close, Unavailable("the server has stopped"))
        except Misconfigured as fault:
            logger.error("not configured: %s", fault)  # noqa: TRY400 - the fault is the reader's, no trace helps
            wiring.close(fault)
        yield
