"""What a server does when it is told to stop: leases are given up in time, not left to run out."""

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
    """While the block runs, SIGTERM bounds what generations may still take: then they are handed over.

    Elsewhere than on Vercel they may land for `COPPERPLATE_STOP_SECONDS`. There a process is killed
    half a second later, so it hands over at once. The server's own stop waits for its callers
    first, who wait for the generations: it cannot do this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    on_vercel = services.settings.on_vercel
    if on_vercel:
        # The runtime logs everything from INFO on, and every call to Supabase is a line of httpx.
        logging.getLogger("httpx").setLevel(logging.WARNING)
    within_seconds = 0.0 if on_vercel else services.settings.stop.total_seconds()
    loop = asyncio.get_running_loop()
    servers = signal.getsignal(signal.SIGTERM)
    draining: list[asyncio.Task[None]] = []

    def drain() -> None:
        draining.append(loop.create_task(services.drain(within_seconds=within_seconds)))

    def leave(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(drain)
        if callable(servers):
            servers(number, frame)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, servers)
