"""Callers on keep-alive connections, in a process of their own: `python -m bench.harness.load URL ...`.

Raw sockets and no pipelining: a caller sends its next request when it has the whole answer. Prints one
line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import uvloop

from bench.harness.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

# Answers are taken from here at once, so all connections share it.
_ROOM = bytearray(512 * 1024)
_VIEW = memoryview(_ROOM)
GIVE_UP_SECONDS = 60.0
# What of a URL or a header differs from one request to the next.
NUMBER = b"{n}"


@dataclass(slots=True)
class Tally:
    """What the callers saw."""

    to_send: int
    until: float
    does_hash: bool
    # No more than so many a second in all; 0: as fast as the answers come.
    per_second: float = 0.0
    sent: int = 0
    began: float = field(default_factory=time.monotonic)
    latencies: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    digests: Counter[str] = field(default_factory=Counter)
    errors: int = 0


class Caller(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, request: bytes, tally: Tally, over: asyncio.Future[None]) -> None:
        self._request = request
        self._tally = tally
        self._over = over
        self._head = b""
        self._left = -1
        self._digest = hashlib.sha256()
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._send()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        start = 0 if self._left >= 0 else self._read_head(nbytes)
        if start is None:
            return
        self._left -= nbytes - start
        if self._tally.does_hash:
            self._digest.update(_VIEW[start:nbytes])
        if self._left == 0:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._over.done():
            self._tally.errors += 1
            self._over.set_result(None)

    def _read_head(self, nbytes: int) -> int | None:
        """Where the body begins in what has just come; None while the head is not complete."""
        end = _ROOM.find(b"\r\n\r\n", 0, nbytes)
        self._head += bytes(_VIEW[: nbytes if end < 0 else end])
        if end < 0:
            return None
        lines = self._head.lower().split(b"\r\n")
        self._tally.statuses[lines[0].split()[1].decode()] += 1
        self._left = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return end + 4

    def _send(self) -> None:
        tally = self._tally
        if tally.to_send <= 0 or time.monotonic() >= tally.until:
            self._over.set_result(None)
            self._transport.close()
            return
        tally.to_send -= 1
        tally.sent += 1
        number = tally.sent
        if tally.per_second:
            due_at = tally.began + number / tally.per_second
            asyncio.get_running_loop().call_later(max(0.0, due_at - time.monotonic()), self._write, number)
        else:
            self._write(number)

    def _write(self, number: int) -> None:
        self._head, self._left, self._digest = b"", -1, hashlib.sha256()
        self._sent_at = time.perf_counter()
        self._transport.write(self._request.replace(NUMBER, b"%x" % number))

    def _finish(self) -> None:
        tally = self._tally
        tally.latencies.append(time.perf_counter() - self._sent_at)
        if tally.does_hash:
            tally.answered_at.append(time.time())
            tally.digests[self._digest.hexdigest()] += 1
        self._send()


async def call(url: str, connections: int, tally: Tally, headers: Sequence[str] = ()) -> float:
    """Run all callers to their end; answers the seconds it took."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = "".join(f"{header}\r\n" for header in (f"Host: {parts.netloc}", *headers))
    request = f"GET {target} HTTP/1.1\r\n{head}\r\n".encode()
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    ends: list[asyncio.Future[None]] = []
    for _ in range(connections):
        ends.append(loop.create_future())
        await loop.create_connection(partial(Caller, request, tally, ends[-1]), parts.hostname or "", parts.port or 80)
    late = (await asyncio.wait(ends, timeout=tally.until - started + GIVE_UP_SECONDS))[1]
    tally.errors += len(late)
    return time.monotonic() - started


def main() -> None:
    """Call one URL with a bounded number of requests, for a bounded time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=GIVE_UP_SECONDS)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--per-second", type=float, default=0.0, help="at most so many (default: as answers come)")
    parser.add_argument(
        "--header", action="append", default=[], help="a header; {n} is the number, here and in the URL"
    )
    parser.add_argument("--hash", action="store_true", help="compare bodies, and say when each answer was complete")
    given = parser.parse_args()
    tally = Tally(
        to_send=given.count,
        until=time.monotonic() + given.seconds,
        does_hash=given.hash,
        per_second=given.per_second,
    )
    seconds = uvloop.run(call(given.url, given.connections, tally, given.header))
    answers = len(tally.latencies)
    said = {
        "requests": answers,
        "per_second": answers / seconds,
        "errors": tally.errors,
        "statuses": tally.statuses,
        "p50_ms": percentile(tally.latencies, 50) * 1000 if answers else None,
        "p99_ms": percentile(tally.latencies, 99) * 1000 if answers else None,
        "max_ms": max(tally.latencies) * 1000 if answers else None,
        "digests": tally.digests,
        "answered_at": tally.answered_at,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
