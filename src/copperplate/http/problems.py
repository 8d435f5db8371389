"""Errors as `application/problem+json` (RFC 9457). Nothing here may be cached, by anyone."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import (
    CopperplateError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Signal,
    Unauthorized,
    Unavailable,
    UnsatisfiableRange,
)
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request, Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": (
        "Cache-Status, Content-Range, Location, Preference-Applied, Retry-After, X-Copperplate-Ignored"
    ),
}

# For errors that are raised without a message.
_DETAILS: Final[Mapping[str, str]] = {
    "still_generating": "The wait is over, the work goes on. Ask for the same address again after Retry-After.",
    "too_many_waiters": "Ask for the same address again after Retry-After.",
    "ledger_unavailable": "Ask for the same address again after Retry-After.",
    "pooler_exhausted": "Ask for the same address again after Retry-After.",
    "store_unavailable": "Ask for the same address again after Retry-After.",
    "folder_unavailable": "The server's log names the folder and says why. Ask again after Retry-After.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error as it is answered: status, headers (lower case) and body."""

    status: int
    headers: Mapping[str, str] = field(hash=False)
    body: bytes

    @classmethod
    def of(cls, error: BaseException) -> Problem:
        """The answer to an error; one that we did not raise on purpose is answered without its message."""
        if isinstance(error, CopperplateError) and not isinstance(error, Signal):
            return cls._of_ours(error)
        return cls.render(CopperplateError.status, CopperplateError.code, CopperplateError.title, "", {})

    @classmethod
    def _of_ours(cls, error: CopperplateError) -> Problem:
        headers = {}
        if error.retry_after_seconds is not None:
            headers["retry-after"] = str(error.retry_after_seconds)
        if isinstance(error, Unauthorized):
            headers["www-authenticate"] = error.challenge
        if isinstance(error, MethodNotAllowed):
            headers["allow"] = error.allowed
        if isinstance(error, UnsatisfiableRange):
            headers["content-range"] = f"bytes */{error.size_bytes}"
        # What does not answer, and its address, are for the log; callers only learn that waiting helps.
        detail = "" if isinstance(error, Unavailable) else str(error)
        return cls.render(error.http_status, error.code, error.title, detail, headers, error.members)

    @classmethod
    def render(
        cls,
        status: int,
        code: str,
        title: str,
        detail: str,
        headers: Mapping[str, str],
        members: Mapping[str, object] = MappingProxyType({}),
    ) -> Problem:
        """An answer without an error; header names are lower case. Without `detail` the title is repeated."""
        document = {
            "type": f"urn:copperplate:error:{code}",
            "title": title,
            "status": status,
            "detail": detail or _DETAILS.get(code, title),
            "code": code,
            **members,
        }
        # A message may repeat what was asked, lone surrogates included.
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
        return cls(status=status, headers={**HEADERS, **headers}, body=body)

    def response(self) -> Response:
        """The same for a FastAPI route."""
        from fastapi import Response

        return Response(self.body, self.status, headers=dict(self.headers), media_type=MEDIA_TYPE)

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """All headers as ASGI wants them."""
        headers = {**self.headers, "content-type": MEDIA_TYPE, "content-length": str(len(self.body))}
        return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def send(self, send: Send, *, with_body: bool = True) -> None:
        """The same for plain ASGI; a HEAD is answered without the body."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.raw_headers()})
        await send({"type": "http.response.body", "body": self.body if with_body else b""})


def is_expected(error: BaseException) -> bool:
    """Whether callers see the code and message of an error."""
    return isinstance(error, CopperplateError) and not isinstance(error, Signal)


class Guard:
    """ASGI: answers an unexpected error of the routes with a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and catch what it raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if has_started:
                raise
            log_unexpected(error, "a route")
            await Problem.of(error).send(send, with_body=scope["method"] != "HEAD")


def install(app: FastAPI) -> None:
    """Make every error of the routes a problem."""
    # Imported here: pictures are answered without FastAPI, which takes longer to import than the whole package.
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    app.add_exception_handler(CopperplateError, _answer_ours)
    app.add_exception_handler(HTTPException, _answer_framework)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_middleware(Guard)


async def _answer_ours(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's signature
    if not is_expected(error):
        log_unexpected(error, "a route")
    elif isinstance(error, Unavailable):
        logger.warning("%s: %s", error.code, error)
    return Problem.of(error).response()


async def _answer_framework(request: Request, error: Exception) -> Response:
    from starlette.exceptions import HTTPException

    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
    match error.status_code:
        case 404:
            ours: CopperplateError = NotFound("Pictures are at /1024x1024.jpg?text=..., the rest is at /docs.")
        case 405:
            ours = MethodNotAllowed(_methods_of(request, (error.headers or {}).get("Allow", "GET")))
        case status if status < 500:
            ours = InvalidRequest(str(error.detail))
        case _:
            log_unexpected(error, request.scope.get("path", ""))
            ours = CopperplateError()
    return Problem.of(ours).response()


def _methods_of(request: Request, allowed: str) -> str:
    """Every method of an address; `allowed` are those of the first of its routes, which is all the framework names."""
    path = getattr(request.scope.get("route"), "path_format", request.scope["path"])
    return ", ".join(sorted(request.app.state.methods.get(path, ()))) or allowed


async def _answer_invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's signature
    faults: list[Any] = getattr(error, "errors", list)()
    return Problem.of(InvalidRequest(" ".join(map(_told, faults[:5])))).response()


def _told(fault: Mapping[str, Any]) -> str:
    """A fault that FastAPI found in a parameter, in words of this API."""
    name, bound = ".".join(str(part) for part in fault["loc"][1:]), fault.get("ctx", {})
    match fault["type"]:
        case "int_parsing" | "int_parsing_size":
            return f"{name} is no whole number."
        case "greater_than_equal":
            return f"{name} is {bound['ge']:,} at least."
        case "less_than_equal":
            return f"{name} is {bound['le']:,} at most."
        case _:
            return f"{name}: {fault['msg']}."
