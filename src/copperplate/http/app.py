"""The application: what `functions/app.py`, `copperplate serve` and tests create."""

from __future__ import annotations

import contextlib
import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from copperplate.compose import open_services
from copperplate.errors import Misconfigured
from copperplate.http import api, care_routes, page, problems, vercel
from copperplate.http.openapi import describe_pictures
from copperplate.http.pictures import Pictures
from copperplate.http.problems import Problem
from copperplate.http.wiring import Services, Wiring
from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

DESCRIPTION = "Makes each distinct AI picture once and serves every later request from the cache."
# Answered even where nothing is configured: the process lives.
HEALTH = "/healthz"


class Application(FastAPI):
    """FastAPI, with pictures answered before any of it sees the request."""

    def __init__(self, wiring: Wiring, **options: Any) -> None:
        super().__init__(**options)
        self._front = vercel.Invocation(Pictures(_Configured(super().__call__, wiring), wiring), wiring)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the application's lifespan."""
        await self._front(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the picture's URL, which is no route."""
        if not self.openapi_schema:
            describe_pictures(super().openapi())
        return super().openapi()


class _Configured:
    """ASGI: answers 503 and says what to set while there are no services."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._wiring.services is None and scope["path"] != HEALTH:
            await Problem.of(self._wiring.fault).send(send, with_body=scope["method"] != "HEAD")
            return
        await self._app(scope, receive, send)


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> FastAPI:
    """The ASGI application. Without arguments the environment is read when the server starts it.

    Wrong or missing settings stop neither import nor start: every request but `/healthz` is then
    answered 503, naming the variables. `services` are used as they are and left open; the caller
    closes them.
    """
    wiring = Wiring(services)
    app = Application(
        wiring,
        title="Copperplate",
        version=version("copperplate"),
        description=DESCRIPTION,
        lifespan=lambda _: _running(wiring, settings, services),
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.wiring = wiring
    app.include_router(api.router)
    app.include_router(care_routes.router)
    app.include_router(page.router)
    problems.install(app)
    return app


@contextlib.asynccontextmanager
async def _running(wiring: Wiring, settings: Settings | None, services: Services | None) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        try:
            if services is None:
                opening = open_services(Settings.from_env() if settings is None else settings)
                opened = await stack.enter_async_context(opening)
                stack.enter_context(vercel.leaving_in_time(opened))
                wiring.open(opened)
        except Misconfigured as fault:
            logger.error("not configured: %s", fault)  # noqa: TRY400 - the fault is the reader's, no trace helps
            wiring.close(fault)
        yield
