"""The application: what `copperplate serve` and tests create, and what `LazyApp` hands on to."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route

from copperplate.http import problems
from copperplate.http.front import make_front
from copperplate.http.lifespan import lifespan
from copperplate.http.openapi import FOR_ANYBODY, describe_pictures
from copperplate.http.openapi_streams import describe_streams
from copperplate.http.parameters import IgnoredParameters
from copperplate.http.routes import (
    batches,
    budget,
    explain,
    generate,
    generations,
    health,
    images,
    memoji,
    objects,
    operations,
    page,
    process,
    process_lookups,
    statistics,
    uploads,
    warming,
    work,
)
from copperplate.http.wiring import Wiring

if TYPE_CHECKING:
    from starlette.types import Lifespan, Receive, Scope, Send

    from copperplate.services import Services
    from copperplate.settings import Settings

DESCRIPTION = "Makes each distinct AI picture once and serves every later request from the cache."


class Application(FastAPI):
    """FastAPI, with pictures answered before any of it sees the request."""

    def __init__(self, wiring: Wiring, **options: Any) -> None:
        super().__init__(**options)
        # Where a server calls it itself, each request is spared a call.
        self.front = make_front(super().__call__, wiring)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the application's lifespan."""
        await self.front(scope, receive, send)

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that has passed a front already, that of `LazyApp`."""
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the picture's URL, which is no route."""
        if not self.openapi_schema:
            describe_pictures(super().openapi())
            describe_streams(super().openapi(), FOR_ANYBODY)
        return super().openapi()


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> Application:
    """The ASGI application. Without arguments the environment is read when the server starts it.

    Wrong or missing settings stop neither import nor start: every request but `/healthz` is then
    answered 503, naming the variables. `services` are used as they are and left open; the caller
    closes them.
    """
    wiring = Wiring(services)
    return make_application(
        wiring, lambda _: lifespan(wiring, settings) if services is None else contextlib.nullcontext()
    )


def make_application(wiring: Wiring, lifespan: Lifespan[Any] | None = None) -> Application:
    """The application over this wiring, which somebody else opens and closes unless `lifespan` does."""
    app = Application(
        wiring,
        title="Copperplate",
        version=version("copperplate"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        # `page` has a reference of our own: theirs runs scripts of a host that is not ours.
        docs_url=None,
        redoc_url=None,
    )
    app.state.wiring = wiring
    # By path: what an address is asked with, as documented over all of its routes.
    app.state.methods = {}
    for routes in (
        *(health, statistics, budget, explain, operations, work),
        *(generate, generations, batches, warming, memoji, uploads, process, process_lookups, images, objects, page),
    ):
        app.include_router(routes.router)
        for route in routes.router.routes:
            if isinstance(route, Route) and route.include_in_schema:
                app.state.methods.setdefault(route.path_format, set()).update(route.methods or ())
    problems.install(app)
    app.add_middleware(IgnoredParameters)
    return app
