"""STAND-IN for fal's storage: a token and one POST to its CDN, or an address and one PUT; and the files themselves.

Made from the sources of fal-client and @fal-ai/client, not from recordings. Unlike the CDN it serves what is restricted
to anybody: nobody outside fal knows whether a runner may load it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standin import answers
from tests.standin.scenario_log import Scenario

if TYPE_CHECKING:
    from starlette.requests import Request

    from tests.standin.scenario_log import ScenarioLog

TOKEN = "token-of-the-stand-in"
# What a scenario is told for: `told["storage:cdn"]`.
STAGES = ("storage:token", "storage:cdn", "storage:initiate", "storage:put", "storage:file")


@dataclass
class Upload:
    """One file: its bytes, and what was said with it."""

    way: str
    media_type: str
    name: str
    lifecycle: dict[str, Any]
    body: bytes = field(default=b"", repr=False)


class FalStorage:
    """The routes of fal's storage. `storage:<stage>` in `told` says what goes wrong where."""

    def __init__(self, scenario_log: ScenarioLog) -> None:
        self._book = scenario_log

    def routes(self) -> list[Route]:
        return [
            Route("/storage/auth/token", self.authorize, methods=["POST"]),
            Route("/storage/upload/initiate", self.initiate, methods=["POST"]),
            Route("/files/upload", self.take, methods=["POST"]),
            Route("/uploads/{number}", self.put, methods=["PUT"]),
            Route("/files/b/{number}/{name}", self.file),
        ]

    async def authorize(self, request: Request) -> Response:
        self._note(request, await request.json())
        if odd := await self._odd("storage:token", request):
            return odd
        if not request.headers.get("authorization", "").startswith("Key "):
            return answers.problem(401, {"detail": "Authentication is required to access this resource."})
        seconds = self._value("storage:token", "expires", 3_600)
        token = {
            "token": TOKEN,
            "token_type": "Bearer",
            "base_url": self._place("storage:token", "base", str(request.base_url).rstrip("/")),
            "expires_at": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(),
        }
        return JSONResponse(token)

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self._note(request, None)
        if odd := await self._odd("storage:cdn", request):
            return odd
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return answers.problem(401, {"detail": "Invalid token"})
        headers = request.headers
        number = self._keep(
            Upload(
                way="cdn",
                media_type=headers.get("content-type", ""),
                name=headers.get("x-fal-file-name", ""),
                lifecycle=json.loads(headers.get("x-fal-object-lifecycle", "{}")),
                body=body,
            )
        )
        return JSONResponse({"access_url": self._place("storage:cdn", "at", self._url(request, number))})

    async def initiate(self, request: Request) -> Response:
        asked = await request.json()
        self._note(request, asked)
        if odd := await self._odd("storage:initiate", request):
            return odd
        lifecycle = json.loads(request.headers.get("x-fal-object-lifecycle", "{}"))
        upload = Upload("storage", asked["content_type"], asked["file_name"], lifecycle)
        self._book.uploads.append(upload)
        number = len(self._book.uploads) - 1
        to = self._place("storage:initiate", "to", f"{request.base_url}uploads/{number}?signature=secret")
        return JSONResponse({"upload_url": to, "file_url": self._url(request, number)})

    async def put(self, request: Request) -> Response:
        body = await request.body()
        self._note(request, None)
        if odd := await self._odd("storage:put", request):
            return odd
        self._book.uploads[int(request.path_params["number"])].body = body
        return Response()

    async def file(self, request: Request) -> Response:
        if odd := await self._odd("storage:file", request):
            return odd
        upload = self._book.uploads[int(request.path_params["number"])]
        return Response(upload.body, media_type=upload.media_type)

    def _keep(self, upload: Upload) -> int:
        self._book.uploads.append(upload)
        return len(self._book.uploads) - 1

    def _url(self, request: Request, number: int) -> str:
        return f"{request.base_url}files/b/{number}/{self._book.uploads[number].name}"

    def _note(self, request: Request, body: Any) -> None:
        self._book.posts[f"storage {request.url.path.rpartition('/')[0]}"] += 1
        self._book.note(request.method, request.url.path, dict(request.headers), body)

    def _told(self, stage: str) -> Scenario:
        queue = self._book.told.get(stage)
        return queue[0] if queue else Scenario()

    def _place(self, stage: str, name: str, otherwise: str) -> str:
        told = self._told(stage)
        return told.value if told.is_(name) else otherwise

    def _value(self, stage: str, name: str, otherwise: float) -> float:
        told = self._told(stage)
        return float(told.value) if told.is_(name) else otherwise

    async def _odd(self, stage: str, request: Request) -> Response | None:
        """What goes wrong now; of several each once, the last one stays."""
        scenario, queue = self._told(stage), self._book.told.get(stage)
        if queue is not None and len(queue) > 1:
            queue.pop(0)
        if scenario.is_("drop"):
            return answers.drop(request)
        if scenario.is_("slow"):
            await asyncio.sleep(float(scenario.value))
        if scenario.is_("held"):
            await answers.held(self._book)
        if scenario.is_("not_json"):
            return Response(answers.NGINX.format("200"), media_type="text/html")
        if scenario.name.startswith("http_"):
            status = int(scenario.name[5:8])
            return answers.problem(status, {"detail": "no"}, **answers.retry_after(scenario.value))
        return None
