"""Server processes: uvicorn's supervisor over K workers that share one socket."""

from __future__ import annotations

import http.client
import logging
import math
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from copperplate.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

PARENT_VARIABLE = "COPPERPLATE_PARENT_PID"
PARENT_CHECK_SECONDS = 0.5
READY_SECONDS = 30.0
READY_CHECK_SECONDS = 0.05
# Answers to those whose pictures were just handed over.
LAST_ANSWERS_SECONDS = 1
BACKLOG = 2048

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "copperplate": {"level": "INFO"},
        "uvicorn.error": {"level": "WARNING"},
    },
}


def bind(host: str, port: int) -> socket.socket:
    """A listening socket that workers inherit; raises `Misconfigured` where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Listening at once, because two processes may bind one port as long as neither listens.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = f"Port {port} on {host} cannot be used ({error.strerror}): free it, or name another with --port."
        raise Misconfigured(message) from error
    listener.set_inheritable(True)
    return listener


def run(
    listener: socket.socket,
    *,
    workers: int,
    stop_seconds: float,
    announce_ready: Callable[[], None],
    verbose: bool = False,
) -> None:
    """Serve until told to stop (SIGINT, SIGTERM). A worker that dies is replaced; the others keep serving.

    Workers read their settings from the environment. `announce_ready` is called once the first of
    them answers. A stop waits `stop_seconds` for the answers under way. Request lines are logged only
    where `verbose`; no log line holds a query.
    """
    import uvicorn

    from copperplate.http.workers import Workers

    os.environ[PARENT_VARIABLE] = str(os.getpid())
    logging_level = "INFO" if verbose else "WARNING"
    config = uvicorn.Config(
        "copperplate.http.server:create_worker_app",
        factory=True,
        workers=workers,
        # One request line of ours replaces uvicorn's, which would hold the prompt.
        access_log=False,
        log_config={**LOGGING, "loggers": {**LOGGING["loggers"], "copperplate.requests": {"level": logging_level}}},  # type: ignore[dict-item]
        server_header=False,
        proxy_headers=False,
        http="httptools",
        loop="uvloop" if os.name != "nt" else "auto",
        timeout_graceful_shutdown=math.ceil(stop_seconds) + LAST_ANSWERS_SECONDS,
    )
    threading.Thread(target=_wait_until_ready, args=(listener, announce_ready), daemon=True).start()
    Workers(config, sockets=[listener]).run()


def create_worker_app() -> FastAPI:
    """The app of one worker process, which ends when its supervisor is gone, however that ended."""
    from copperplate.http.app import create_app

    parent = int(os.environ.get(PARENT_VARIABLE, "0"))
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return create_app()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    logging.getLogger(__name__).warning("the supervisor is gone; stopping")
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_until_ready(listener: socket.socket, announce_ready: Callable[[], None]) -> None:
    host, port = listener.getsockname()[:2]
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(_reachable(host), port, timeout=READY_SECONDS)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == http.client.OK:
                announce_ready()
                return
        time.sleep(READY_CHECK_SECONDS)


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a name to compare with
