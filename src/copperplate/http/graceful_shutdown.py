"""What a server does at SIGTERM: it gives its leases up in time and does not let them run out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from copperplate.services import Services


@contextlib.contextmanager
def draining_on_sigterm(services: Services) -> Iterator[None]:
    """While the block runs, SIGTERM starts a time limit for generations; those that exceed it are handed over.

    The limit is `COPPERPLATE_STOP_SECONDS`. On Vercel a process is killed half a second after SIGTERM, so it hands
    over at once. The server's own stop cannot do this: it first waits for its callers, and they for generations.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    on_vercel = services.settings.on_vercel
    if on_vercel:
        # The runtime logs from INFO on, and httpx logs a line for each call to Supabase.
        logging.getLogger("httpx").setLevel(logging.WARNING)
    within_seconds = 0.0 if on_vercel else services.settings.stop.total_seconds()
    loop = asyncio.get_running_loop()
    servers = signal.getsignal(signal.SIGTERM)
    draining: list[asyncio.Task[None]] = []

    def drain() -> None:
        draining.append(loop.create_task(services.shut_down(within_seconds=within_seconds)))

    def leave(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(drain)
        if callable(servers):
            servers(number, frame)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, servers)
