"""The deployment's entry: it answers pictures at once, and loads the rest when that is first asked for.

FastAPI takes longer to import than everything a picture needs, and most instances only ever show pictures.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from copperplate.compose import open_services
from copperplate.errors import Misconfigured
from copperplate.http import vercel
from copperplate.http.graceful_shutdown import draining_on_sigterm
from copperplate.http.pictures import Pictures
from copperplate.http.problems import Problem
from copperplate.http.wiring import Wiring
from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.services import Services

logger = logging.getLogger(__name__)

# Answered even where nothing is configured: the process lives.
HEALTH = "/healthz"


class Entry:
    """ASGI: what `create_app` makes, made when something else than a picture is asked for."""

    def __init__(self) -> None:
        self._wiring = Wiring()
        self._app: ASGIApp | None = None
        self._front = vercel.Invocation(Pictures(Configured(self._hand_on, self._wiring), self._wiring), self._wiring)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or open and close the services with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._front(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        step = "startup"
        try:
            async with running(self._wiring, None, None):
                await send({"type": "lifespan.startup.complete"})
                step = "shutdown"
                await receive()
        except Exception:
            await send({"type": f"lifespan.{step}.failed", "message": "see the log"})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            from copperplate.http.app import create_app

            self._app = create_app(services=self._wiring.services)
        await self._app(scope, receive, send)


class Configured:
    """ASGI: answers 503 and says what to set while there are no services."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and self._wiring.services is None and scope["path"] != HEALTH:
            await Problem.of(self._wiring.fault).send(send, with_body=scope["method"] != "HEAD")
            return
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def running(wiring: Wiring, settings: Settings | None, services: Services | None) -> AsyncIterator[None]:
    """Services for as long as the server runs; a wrong setting is what requests are then told, not an end."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            if services is None:
                opening = open_services(Settings.from_env() if settings is None else settings)
                opened = await stack.enter_async_context(opening)
                stack.enter_context(draining_on_sigterm(opened))
                wiring.open(opened)
        except Misconfigured as fault:
            logger.error("not configured: %s", fault)  # noqa: TRY400 - the fault is the reader's, no trace helps
            wiring.close(fault)
        yield
