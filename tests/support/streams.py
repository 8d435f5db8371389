"""Streams of progress without a server: one request each, whose caller reads, freezes or goes as a test says."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copperplate.http.followers import ABORT, Followers, StreamTimes
from copperplate.http.streams import Streams
from copperplate.http.wiring import Wiring

if TYPE_CHECKING:
    from copperplate.services import Services

# A stream's seconds, scaled: what is not tested by a short one never comes.
LONG = StreamTimes(comment=60, send=60, life=60, tick=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as an EventSource reads it."""

    name: str
    id: str
    data: dict[str, Any]
    retry: str


def events_in(body: bytes) -> list[Event]:
    """The events of a stream, without its comments."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in _blocks(body)]
    return [Event(name=b["event"], id=b["id"], data=json.loads(b["data"]), retry=b["retry"]) for b in blocks]


def _blocks(body: bytes) -> list[str]:
    return [block for block in body.decode().split("\n\n") if block and not block.startswith(":")]


class Desk:
    """The front of a process that answers streams."""

    def __init__(self, services: Services, times: StreamTimes = LONG) -> None:
        self.services = services
        self.followers = Followers(times)
        self.passed_on: list[str] = []
        self.app = Streams(self._pass_on, Wiring(services), self.followers)

    def open(self, url: str, *, method: str = "GET", **headers: str) -> Stream:
        """Send a request."""
        return Stream(self.app, url, method, {name.replace("_", "-"): value for name, value in headers.items()})

    async def whole(self, url: str, *, method: str = "GET", **headers: str) -> Stream:
        """Send a request and wait until it is answered."""
        stream = self.open(url, method=method, **headers)
        await asyncio.wait_for(stream.task, 10)
        return stream

    def is_empty(self) -> bool:
        """Whether nothing is left of any stream."""
        is_timed = self.followers._ticking is not None or self.followers._followers or self.followers._addresses
        return not (len(self.followers) or is_timed or len(self.services.watches))

    async def _pass_on(self, scope: Any, receive: Any, send: Any) -> None:
        del receive
        self.passed_on.append(scope["path"])
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Stream:
    """One request and what it was sent; `is_broken`: its server raises at every send."""

    def __init__(self, app: Any, url: str, method: str, headers: dict[str, str]) -> None:
        path, _, query = url.partition("?")
        headers = {"host": "pictures.test", **headers}
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = self.was_aborted = self.is_broken = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._gone = asyncio.Event()
        self._is_asked = False
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": sent,
            "client": ("203.0.113.7", 4711),
            "server": ("127.0.0.1", 8000),
            ABORT: self._abort,
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    @property
    def events(self) -> list[Event]:
        """What it was told so far."""
        return events_in(self.body)

    async def told(self, count: int) -> list[Event]:
        """The first events, as soon as there are so many."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                await asyncio.sleep(0.002)
        return self.events

    async def go(self) -> None:
        """The caller disconnects."""
        self._gone.set()
        self.may_read.set()
        await asyncio.wait_for(self.task, 10)

    def _abort(self) -> None:
        self.was_aborted = True
        self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.is_broken:
            raise RuntimeError("the handle is closed")
        if not self.may_read.is_set():
            await self.may_read.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]
            self.is_complete = not message.get("more_body", False)
