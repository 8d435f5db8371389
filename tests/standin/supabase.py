"""STAND-IN: the gateway of a Supabase project. Behind `/rest/v1` is a real PostgREST.

It translates keys as the hosted gateway does and forwards the rest unchanged. `/storage/v1` and `/auth/v1` are
whatever applications it is given.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Self

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.standin.server import Protocol
from tests.support.postgrest_server import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

# Of one connection, not of the message it carries.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "content-encoding"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
OPEN_PATHS = ("/storage/v1/object/public/", "/auth/v1/.well-known/")
# Their tokens are what permits them.
SIGNED = {"GET": "/storage/v1/object/sign/", "PUT": "/storage/v1/object/upload/sign/"}
SECRET_KEY = "sb_secret_for-tests-only_0123456789abcdef"
PUBLISHABLE_KEY = "sb_publishable_for-tests-only_0123456789"


class Supabase:
    """A running project: `url`, and its keys of both generations.

    `storage` and `auth` are ASGI applications served below `/storage/v1` and `/auth/v1`; they see the path without that
    prefix, and `Authorization` as the hosted services see it: a token, never an `sb_…` key.
    """

    secret_key = SECRET_KEY
    publishable_key = PUBLISHABLE_KEY

    def __init__(self, postgrest_url: str, *, storage: ASGIApp | None = None, auth: ASGIApp | None = None) -> None:
        self.service_role_key = make_jwt("service_role")
        self.anon_key = make_jwt("anon")
        self.requests: list[str] = []  # "POST /rest/v1/rpc/peek_generation"
        self._postgrest_url = postgrest_url
        routes: list[Route | Mount] = [Route("/rest/v1/{path:path}", self._forward, methods=METHODS)]
        services = {"/storage/v1": storage, "/auth/v1": auth}
        routes += [Mount(path, service) for path, service in services.items() if service is not None]
        app = _Keys(self, Starlette(routes=routes, lifespan=self._lifespan))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, http=Protocol, ws="none", log_level="error", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._listener = config.bind_socket()
        self._listener.listen(512)  # from now on a caller waits in the queue, however late the thread is
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._listener.close()

    def token_of(self, key: str) -> str | None:
        """The token that a key stands for; None for a key that is not the project's."""
        tokens = {SECRET_KEY: self.service_role_key, PUBLISHABLE_KEY: self.anon_key}
        is_legacy = key in (self.service_role_key, self.anon_key)
        return key if is_legacy else tokens.get(key)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=self._postgrest_url, timeout=60) as client:
            self._client = client
            yield

    async def _forward(self, request: Request) -> Response:
        answer = await self._client.request(
            request.method,
            f"/{request.path_params['path']}",
            params=request.url.query.encode(),
            headers=[(name, value) for name, value in request.headers.raw if name.decode() not in HOP_BY_HOP],
            content=await request.body(),
        )
        kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        return Response(answer.content, status_code=answer.status_code, headers=kept)


class _Keys:
    """Refuses requests without a key of the project, and gives the services behind it the key's token."""

    def __init__(self, project: Supabase, app: ASGIApp) -> None:
        self._project = project
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._project.requests.append(f"{scope['method']} {scope['path']}")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        key, authorization = headers.get("apikey"), headers.get("authorization", "")
        # Pictures of a public bucket, the keys of tokens, and preflights, carry no key.
        signed = SIGNED.get(scope["method"], "none")
        is_open = scope["path"].startswith((*OPEN_PATHS, signed)) or scope["method"] == "OPTIONS"
        if key is None and not is_open:
            await _refuse("No API key found in request")(scope, receive, send)
            return
        token = self._project.token_of(key) if key is not None else None
        if key is not None and token is None:
            await _refuse("Invalid API key")(scope, receive, send)
            return
        # A token of a person stays; an sb_… key sent in its place, or nothing, becomes the key's token. Of a key
        # of the older generation only what is in Authorization counts.
        if token not in (None, key) and authorization in ("", f"Bearer {key}"):
            others = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
            scope["headers"] = [*others, (b"authorization", f"Bearer {token}".encode())]
        await self._app(scope, receive, send)


def _refuse(message: str) -> JSONResponse:
    return JSONResponse(
        {"message": message, "hint": "Double check your Supabase `anon` or `service_role` API key."}, status_code=401
    )
