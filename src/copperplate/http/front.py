"""The front of every application: pictures are answered before any routing, and faults of the setup in one voice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.http.pictures import Pictures
from copperplate.http.problems import Problem
from copperplate.http.vercel import Invocation

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.http.wiring import Wiring

# Answered even where nothing is configured: the process lives.
HEALTH: Final = "/healthz"


def make_front(app: ASGIApp, wiring: Wiring) -> ASGIApp:
    """`app`, behind what answers pictures and keeps a function's call open until its work is done."""
    return Invocation(Pictures(Configured(app, wiring), wiring), wiring)


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
