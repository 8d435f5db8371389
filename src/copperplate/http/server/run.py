"""Server processes: K workers of uvicorn that share one socket, under a supervisor of ours."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from copperplate.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from copperplate.settings import Settings

PARENT_VARIABLE = "COPPERPLATE_PARENT_PID"
PARENT_CHECK_SECONDS = 0.5
# A worker that stands still loses its leases first: a successor can then resume what it was making.
PATIENCE_IN_LEASES = 1.5
LEAST_PATIENCE_SECONDS = 30.0
# For the answers to callers whose generations were just handed over.
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
# Their lines are for whoever looks on: by `--verbose`, or by COPPERPLATE_LOG_LEVEL.
LINES = ("copperplate.requests", "copperplate.generations")


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
    settings: Settings,
    *,
    workers: int,
    announce_ready: Callable[[], None],
    verbose: bool = False,
) -> signal.Signals:
    """Serve until told to stop; returns the signal that did it. A worker that dies is replaced; the others serve on.

    Workers read their settings from the environment. `announce_ready` is called once the first of them listens; a
    start has no time limit, and says every few seconds what it waits for. A worker that serves is replaced when it
    answers nothing for one and a half leases, 30 s at least. A stop waits `settings.stop` for the answers under way.
    Each worker holds at most `settings.max_connections`, fewer where open files are limited. Lines of requests and
    generations are logged only where `verbose`, or where the level that is set has them; no log line holds a query.
    Raises `WorkersFailed`.
    """
    import uvicorn

    from copperplate.http.server.connections import Connections, protocol
    from copperplate.http.server.open_files import room_for
    from copperplate.http.server.workers import Workers

    os.environ[PARENT_VARIABLE] = str(os.getpid())
    stop_seconds = settings.stop.total_seconds()
    config = uvicorn.Config(
        "copperplate.http.server.run:create_worker_app",
        factory=True,
        workers=workers,
        # One request line of ours replaces uvicorn's, which would hold the prompt.
        access_log=False,
        log_config={**LOGGING, "loggers": {**LOGGING["loggers"], **levels(settings, verbose=verbose)}},  # type: ignore[dict-item]
        server_header=False,
        proxy_headers=False,
        http=protocol(Connections(most=room_for(settings.max_connections))),
        ws="none",
        loop="uvloop" if os.name != "nt" else "auto",
        timeout_graceful_shutdown=math.ceil(stop_seconds) + LAST_ANSWERS_SECONDS,
    )
    return Workers(
        config,
        listener,
        silent_seconds=max(settings.lease.total_seconds() * PATIENCE_IN_LEASES, LEAST_PATIENCE_SECONDS),
        stop_seconds=stop_seconds + LAST_ANSWERS_SECONDS,
        announce_ready=announce_ready,
    ).run()


def levels(settings: Settings, *, verbose: bool) -> dict[str, dict[str, str]]:
    """The least level of our loggers. `verbose` brings the lines of requests and generations whatever is set."""
    told = settings.log_level
    every = (told or "info").upper()
    lines = (told or "warning").upper()
    if verbose and lines != "DEBUG":
        lines = "INFO"
    return {"copperplate": {"level": every}, **{name: {"level": lines} for name in LINES}}


def create_worker_app() -> ASGIApp:
    """The app of one worker process, which ends when its supervisor is gone, however that ended."""
    from copperplate.http.app import create_app

    parent = int(os.environ.get(PARENT_VARIABLE, "0"))
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    app = create_app()
    # What is loaded by now stays: collections pass it over.
    gc.freeze()
    return app.front


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    logging.getLogger(__name__).warning("the supervisor is gone; stopping")
    os.kill(os.getpid(), signal.SIGTERM)
