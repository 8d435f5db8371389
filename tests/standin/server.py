"""STAND-IN: the server, in a thread of a test or a process of its own."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.standin.fal_queue import FalQueue
from tests.standin.fal_storage import FalStorage
from tests.standin.openai_api import OpenAIApi
from tests.standin.scenario_log import ScenarioLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request


class Protocol(HttpToolsProtocol):
    """Hands the connection to the application, which may cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["standin.transport"] = self.transport  # type: ignore[typeddict-unknown-key]


def make_app(scenario_log: ScenarioLog) -> Starlette:
    """The stand-in's application over `scenario_log`."""

    async def control(request: Request) -> Response:
        if request.method == "DELETE":
            scenario_log.clear()
        elif request.method == "POST":
            told: dict[str, Any] = await request.json()
            scenario_log.tell(told["prompt"], *told["scenarios"])
        return JSONResponse(scenario_log.report(), headers={"X-Stand-In": "copperplate"})

    return Starlette(
        routes=[
            Route("/control", control, methods=["GET", "POST", "DELETE"]),
            *OpenAIApi(scenario_log).routes(),
            *FalStorage(scenario_log).routes(),
            *FalQueue(scenario_log).routes(),
        ]
    )


class Standin:
    """A running stand-in: its address, and what it remembers."""

    def __init__(self, scenario_log: ScenarioLog, url: str) -> None:
        self.scenario_log = scenario_log
        self.url = url

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"


@contextlib.contextmanager
def serve(*, port: int = 0, certificate: Path | None = None, key: Path | None = None) -> Iterator[Standin]:
    """A stand-in on loopback, until the block ends; over TLS where it is given a certificate."""
    scenario_log = ScenarioLog()
    config = uvicorn.Config(
        make_app(scenario_log),
        host="127.0.0.1",
        port=port,
        http=Protocol,
        ws="none",
        log_level="error",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen(512)  # from now on a caller waits in the queue, however late the thread is
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    scheme = "https" if certificate else "http"
    try:
        yield Standin(scenario_log, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
