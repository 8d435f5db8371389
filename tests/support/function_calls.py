"""Calls of a function over memory: one is over when its task is, which may be long after its answer."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.http.app import create_app

if TYPE_CHECKING:
    from tests.support.memory_services import MemoryServices


class Call:
    """One request as a server makes it; `answered` is set when the answer is out, the task ends with the call."""

    def __init__(self, services: MemoryServices, url: str, **headers: str) -> None:
        self.answered = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        path, _, query = url.partition("?")
        sent = [(name.encode(), value.encode()) for name, value in {"host": "pictures.test", **headers}.items()]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": sent}
        self.task = asyncio.create_task(create_app(services=services)(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]
            self.answered.set()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Vercel's runtime, as far as it tells deadlines."""
    module = ModuleType("vercel_runtime")
    monkeypatch.setitem(sys.modules, "vercel_runtime", module)
    return module
