"""Load on one URL, and what came back: by `wrk` where it is installed, else by `bench.harness.load`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.harness.figures import ROOT
from bench.harness.processes import LOAD_CORE, child_environment, pinned

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_SECONDS = 180.0
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a server kept up over some seconds."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def tool() -> str:
    """The name of the load generator in use."""
    return "wrk" if shutil.which("wrk") else "bench/harness/load.py"


def sustain(url: str, *, connections: int, seconds: int, headers: Sequence[str] = (), status: str = "200") -> Rate:
    """Ask one URL over and over, with these headers; every answer must be a 200, or have the `status` that is said."""
    with pinned(LOAD_CORE):
        if shutil.which("wrk"):
            sent = [part for header in headers for part in ("-H", header)]
            command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *sent, url]
            return read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        sent = [part for header in headers for part in ("--header", header)]
        said = _call(url, "--connections", str(connections), "--seconds", str(seconds), *sent)
    if said["errors"] or set(said["statuses"]) != {status}:
        raise RuntimeError(f"not every answer was a {status}: {said['errors']} errors, {said['statuses']}")
    return Rate(requests=said["requests"], per_second=said["per_second"], p50_ms=said["p50_ms"], p99_ms=said["p99_ms"])


def ask(url: str, *, connections: int, count: int) -> dict[str, Any]:
    """Ask one URL `count` times and compare the bodies; see `bench.harness.load` for the answer."""
    return _call(url, "--connections", str(connections), "--count", str(count), "--hash")


def read_wrk(output: str) -> Rate:
    """What `wrk --latency` printed."""
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"not every answer was a 200: {output}")
    latency = {
        percent: float(value) * _MILLISECONDS[unit]
        for percent, value, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m)$", output, re.MULTILINE)
    }
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    count = re.search(r"^\s+(\d+) requests in", output, re.MULTILINE)
    assert rate is not None, output
    assert count is not None, output
    assert {"50", "99"} <= latency.keys(), output
    return Rate(requests=int(count[1]), per_second=float(rate[1]), p50_ms=latency["50"], p99_ms=latency["99"])


def _call(url: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.harness.load", url, *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-1000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said
