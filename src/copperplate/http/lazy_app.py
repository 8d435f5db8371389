"""The deployment's application: it answers pictures at once, and loads the rest when that is first asked for.

FastAPI takes longer to import than everything a picture needs, and most instances only ever show pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.http.front import make_front
from copperplate.http.lifespan import lifespan
from copperplate.http.wiring import Wiring

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from copperplate.http.app import Application


class LazyApp:
    """ASGI: what `create_app` makes, made when something else than a picture is asked for."""

    def __init__(self) -> None:
        self._wiring = Wiring()
        self._app: Application | None = None
        self._front = make_front(self._route, self._wiring)

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
            async with lifespan(self._wiring):
                await send({"type": "lifespan.startup.complete"})
                step = "shutdown"
                await receive()
        except Exception:
            await send({"type": f"lifespan.{step}.failed", "message": "see the log"})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            from copperplate.http.app import make_application

            # The same wiring: services may be opened, or closed, after the application is made.
            self._app = make_application(self._wiring)
        await self._app.route(scope, receive, send)
