"""Pictures by URL, answered before routing: a hit costs little more than sending its bytes (ADR 0004)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.errors import InvalidHost, InvalidRequest, MethodNotAllowed
from copperplate.http import headers, negotiation
from copperplate.http.answers import Answer
from copperplate.http.kept_pictures import name_in, serve_kept
from copperplate.http.origin import has_one_host
from copperplate.http.picture_answers import error_answer, send_answer, serve
from copperplate.http.picture_urls import is_picture_path
from copperplate.recipes.url import AUTO

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.http.wiring import Wiring

METHODS = "GET, HEAD, OPTIONS"


class Pictures:
    """ASGI: answers picture URLs and `/api/images/{id}`, and hands everything else to `app`."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a picture URL; else pass the request on."""
        services, picture_urls = self._wiring.services, self._wiring.picture_urls
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path.endswith(AUTO):
            path, send = negotiation.negotiated_path(path, scope["headers"]), negotiation.not_shared(send)
        if not has_one_host(scope):
            await send_answer(send, scope, error_answer(InvalidHost("Send one Host header."), None), None, 0.0)
            return
        if services is None or picture_urls is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await self._refuse_method(path, scope, receive, send)
            return
        if (name := name_in(path)) is not None:
            await serve_kept(services, name, scope, send)
            return
        try:
            requested = picture_urls.read(path, scope["query_string"])
        except InvalidRequest as error:
            await send_answer(send, scope, error_answer(error, None), None, 0.0)
            return
        if requested is None:
            await self._app(scope, receive, send)
        else:
            await serve(services, requested, scope, send)

    async def _refuse_method(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS, also for a wrong URL, whose GET then reports the error; refuse other methods."""
        if name_in(path) is None and not is_picture_path(path):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await send_answer(send, scope, Answer(204, headers.PREFLIGHT, b"", None), None, 0.0)
        else:
            await send_answer(send, scope, error_answer(MethodNotAllowed(METHODS), None), None, 0.0)
