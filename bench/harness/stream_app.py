"""A server of one stream, for many followers: `python -m bench.harness.stream_app PORT ours|bare`.

Ours is Copperplate's own front over a ledger that knows one generation, in uvicorn as `serve` sets it. The bare
callable waits for the same event and sends the same bytes, and can nothing else. A request for /fire makes an event
and answers the moment, on the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from unittest.mock import Mock

import uvicorn

from copperplate.adapters.notifier import Notifier
from copperplate.adapters.system_clock import SystemClock
from copperplate.http.event_sources import GenerationSource
from copperplate.http.front import make_front
from copperplate.http.generation_states import told_of
from copperplate.http.server.connections import Connections, protocol
from copperplate.http.streams import OF_A_STREAM
from copperplate.http.wiring import Wiring
from copperplate.serving.watches import Watches
from copperplate.settings import Settings
from copperplate.wishes import GenerationState, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from copperplate.services import Services

    App = Callable[[Any, Any, Callable[[Any], Awaitable[None]]], Awaitable[None]]

KEY: Final = "ab" * 32
MOST: Final = 100_000


class OneGeneration:
    """The ledger as far as a stream needs it."""

    def __init__(self) -> None:
        moment = datetime(2026, 11, 30, tzinfo=UTC)
        self.state = GenerationState(
            generation_key=KEY, kind="image", state=State.GENERATING, created_at=moment, started_at=moment
        )
        self._notifier = Notifier()
        self.hints = self._notifier.watch

    async def generation_state(self, _key: str, *, with_usual_time: bool = False) -> GenerationState:
        """It is being made."""
        del with_usual_time
        return self.state

    def change(self) -> None:
        """Its work began anew."""
        assert self.state.started_at is not None
        self.state = replace(self.state, started_at=self.state.started_at + timedelta(seconds=1))
        self._notifier.announce(KEY)


class _Stub:
    """Services without what a stream of a generation does not touch."""

    def __init__(self, ledger: OneGeneration) -> None:
        environ = {"COPPERPLATE_MAX_STREAMS": str(MOST), "COPPERPLATE_STREAMS_PER_ADDRESS": str(MOST)}
        self.settings = Settings.from_env(environ)
        self.ledger = ledger
        self.watches = Watches(cast("Any", ledger), SystemClock())
        self.stores: dict[str, Any] = {}
        # Told of unfinished work at the end of each stream.
        self.work = Mock()


def ours(ledger: OneGeneration) -> App:
    """Copperplate's front."""
    wiring = Wiring()
    wiring.services = cast("Services", _Stub(ledger))
    return make_front(cast("Any", _fire(ledger)), wiring)


def bare(ledger: OneGeneration) -> App:
    """The least that can be asked of a stream."""
    changed = asyncio.Event()

    async def tell(state: GenerationState) -> dict[str, Any]:
        return told_of(state, lambda entry: entry.path)

    source = GenerationSource(KEY, cast("Any", ledger), tell)
    data = b""
    fire = _fire(ledger)

    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        nonlocal changed, data
        if scope["path"] == "/fire":
            await fire(scope, receive, send)
            data = await _render(source)
            happened, changed = changed, asyncio.Event()
            happened.set()
            return
        data = data or await _render(source)
        await send({"type": "http.response.start", "status": 200, "headers": OF_A_STREAM})
        while True:
            happens = changed
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await happens.wait()

    return app


async def _render(source: GenerationSource) -> bytes:
    view = await source.look()
    assert view is not None
    return view.whole[0]


def _fire(ledger: OneGeneration) -> App:
    async def app(scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["path"] != "/fire":
            return
        gc.collect()
        body = repr(time.monotonic()).encode()
        ledger.change()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    """Serve until told to stop."""
    port, which = int(sys.argv[1]), sys.argv[2]
    app = {"ours": ours, "bare": bare}[which](OneGeneration())
    uvicorn.run(
        app,
        port=port,
        http=protocol(Connections(most=MOST)) if which == "ours" else "httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
