"""The middleware around every application: pictures and streams before routing, one answer for faults of the setup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.http.callers import Identified
from copperplate.http.hot_pictures import HotPictures
from copperplate.http.pictures import Pictures
from copperplate.http.problems import Problem
from copperplate.http.streams import Streams
from copperplate.http.vercel import Invocation

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.http.wiring import Wiring

# Answered even where nothing is configured: the process lives.
HEALTH: Final = "/healthz"


def make_front(app: ASGIApp, wiring: Wiring) -> ASGIApp:
    """`app` behind `Invocation` on Vercel, `HotPictures`, `Streams`, `Pictures`, `Configured` and `Identified`."""
    looked_up = Streams(Pictures(Configured(Identified(app, wiring), wiring), wiring), wiring)
    return HotPictures(looked_up, wiring, invocation=Invocation(HotPictures(looked_up, wiring), wiring))


class Configured:
    """ASGI: answers 503 and says what to set while there are no services."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 without services; else pass the request on."""
        if scope["type"] == "http" and self._wiring.services is None and scope["path"] != HEALTH:
            await Problem.of(self._wiring.fault).send(send, with_body=scope["method"] != "HEAD")
            return
        await self._app(scope, receive, send)
