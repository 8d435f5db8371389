"""The proxy of the network's faults leaves no socket behind: what it leaked would fail a test that comes later."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from urllib.parse import urlsplit

import pytest

from tests.support.wire import Wire

CALLERS = 10
# From a listening socket nobody has looked at, over every step of a handler, to one that waits for bytes.
TURNS = range(12)


async def ask_and_end(port: int, turns: int) -> None:
    """Callers that connect, and a wire that ends some turns of the loop later."""
    with contextlib.ExitStack() as callers:
        async with Wire(f"postgresql://user:word@127.0.0.1:{port}/postgres") as wire:
            for _ in range(CALLERS):
                caller = callers.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(("127.0.0.1", urlsplit(wire.url).port))
            for _turn in range(turns):
                await asyncio.sleep(0)


@pytest.mark.parametrize("is_listening", [True, False])
@pytest.mark.parametrize("turns", TURNS)
def test_wire_closes_what_it_opened_wherever_it_ends(turns: int, is_listening: bool) -> None:
    with socket.socket() as database, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        database.bind(("127.0.0.1", 0))
        if is_listening:
            database.listen()
        asyncio.run(ask_and_end(database.getsockname()[1], turns))
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
