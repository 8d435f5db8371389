"""Browsers in a process of their own: `python -m bench.harness.browsers ADDRESS < browsers`.

Each line of the input is one browser: the paths that it asks for, one after the other over each of its connections.
Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.harness.figures import ROOT, percentile
from bench.harness.processes import LOAD_CORE, child_environment, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GIVE_UP_SECONDS = 300.0


def start(address: str, browsers: Sequence[Sequence[str]], *, connections: int) -> subprocess.Popen[str]:
    """Start them; `seen_by` waits for what they saw."""
    command = [sys.executable, "-m", "bench.harness.browsers", address, "--connections", str(connections)]
    with pinned(LOAD_CORE):
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=child_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdin is not None
    process.stdin.writelines(" ".join(paths) + "\n" for paths in browsers)
    process.stdin.close()
    process.stdin = None
    return process


def seen_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Seconds, statuses, bytes, the time to an answer, and how many paths had different answers."""
    said: dict[str, Any] = json.loads(process.communicate(timeout=2 * GIVE_UP_SECONDS)[0])
    return said


class _Seen:
    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.digests: dict[str, set[str]] = defaultdict(set)
        self.latencies: list[float] = []
        self.size_bytes = 0


async def _connection(host: str, port: int, paths: Iterator[str], seen: _Seen) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for path in paths:
        began = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        seen.latencies.append(time.perf_counter() - began)
        status = head.split(" ")[1]
        seen.statuses[status] += 1
        seen.size_bytes += len(body)
        if status == "200":
            seen.digests[path].add(hashlib.sha256(body).hexdigest())
    writer.close()


async def _run(address: str, browsers: Sequence[Sequence[str]], connections: int) -> dict[str, Any]:
    parts = urlsplit(address)
    seen, began = _Seen(), time.monotonic()
    shared = [iter(paths) for paths in browsers]
    asking = [
        _connection(parts.hostname or "", parts.port or 80, paths, seen) for paths in shared for _ in range(connections)
    ]
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await asyncio.gather(*asking)
    return {
        "seconds": time.monotonic() - began,
        "statuses": seen.statuses,
        "size_bytes": seen.size_bytes,
        "p50_ms": percentile(seen.latencies, 50) * 1000,
        "p99_ms": percentile(seen.latencies, 99) * 1000,
        "differing": sum(len(each) > 1 for each in seen.digests.values()),
    }


def main() -> None:
    """Read the browsers, let them all ask at once, and print what they saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--connections", type=int, default=6, help="of each browser")
    given = parser.parse_args()
    browsers = [line.split() for line in sys.stdin]
    print(json.dumps(asyncio.run(_run(given.address, browsers, given.connections))))


if __name__ == "__main__":
    main()
