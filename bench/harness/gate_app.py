"""Holds its callers back until all are there, then answers every one at once: the least that followers cost."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness.raw_app import END, START

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLERS = int(os.environ["BENCH_CALLERS"])
OPENED_AT = Path(os.environ["BENCH_OPENED_AT"])
SETTLE_SECONDS = 0.2


class _Gate:
    def __init__(self) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()

    async def open(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        OPENED_AT.write_text(repr(time.time()))
        self.opened.set()
        self.opened, self.waiting = asyncio.Event(), 0


_gate = _Gate()


async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer one request, when the gate opens."""
    del scope, receive
    opened = _gate.opened
    _gate.waiting += 1
    if _gate.waiting == CALLERS:
        await _gate.open()
    else:
        await opened.wait()
    await send(START)
    await send(END)
