"""Which server should pictures come from? See docs/adr/0005."""

from __future__ import annotations

import os
import subprocess
import venv
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from bench.callers import Rate, sustain, tool
from bench.figures import Figure, Run, median_figure, ratios
from bench.processes import SERVER_CORE, asgi, free_port, pinned, uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = {"100 KB": 102_400, "1.5 MB": 1_572_864}
CONNECTIONS = 32
INSTALL_SECONDS = 120
BASELINE = "uvicorn (httptools, uvloop)"
HOW = (
    "A raw ASGI callable in one worker on one core, {tool} with {connections} connections on the other, in turns; "
    "requests per second as a ratio to uvicorn with httptools and uvloop. {granian}"
)


def measure(run: Run) -> list[Figure]:
    """granian, uvicorn with httptools and uvloop, uvicorn with h11: raw ASGI, 100 KB and 1.5 MB."""
    granian = _install_granian(run)
    version = _version(granian) if granian else None
    how = HOW.format(
        tool=tool(),
        connections=CONNECTIONS,
        granian=f"{version}." if version else "granian could not be installed and was left out.",
    )
    return [figure for label, size in SIZES.items() for figure in _measure_size(run, label, size, granian, how)]


def _measure_size(run: Run, label: str, size: int, granian: Path | None, how: str) -> list[Figure]:
    body = run.folder / f"{size}.body"
    body.write_bytes(os.urandom(size))
    commands: dict[str, Callable[[int], list[str]]] = {
        BASELINE: lambda port: uvicorn("raw_app", port),
        "uvicorn (h11, asyncio)": lambda port: uvicorn("raw_app", port, http="h11", loop="asyncio"),
    }
    if granian:
        commands["granian (uvloop)"] = partial(_granian, granian)
    with ExitStack() as stack:
        addresses = {}
        for number, (server, command) in enumerate(commands.items()):
            port = free_port()
            with pinned(SERVER_CORE):
                started = asgi(command(port), run.folder, body, port=port, log=f"{size}-{number}")
                addresses[server] = stack.enter_context(started)
        rates: dict[str, list[Rate]] = {server: [] for server in addresses}
        for number in range(run.pick(5, 2)):
            for server, address in addresses.items():
                rates[server].append(sustain(f"{address}/", connections=CONNECTIONS, seconds=run.pick(2, 1)))
            run.say(
                f"{label}, round {number + 1}: " + ", ".join(f"{s} {r[-1].per_second:,.0f}/s" for s, r in rates.items())
            )
    return _figures(label, rates, how)


def _figures(label: str, rates: dict[str, list[Rate]], how: str) -> list[Figure]:
    per_second = {server: [rate.per_second for rate in seen] for server, seen in rates.items()}
    figures = []
    for server, seen in rates.items():
        if server != BASELINE:
            ratio = ratios(per_second[server], per_second[BASELINE])
            figures.append(median_figure(ratio, what=f"{label}, {server}", unit="ratio", how=how))
        figures.append(median_figure(per_second[server], what=f"{label}, {server}", unit="/s", how=how))
        p99s = [rate.p99_ms for rate in seen]
        figures.append(median_figure(p99s, what=f"{label}, {server}, p99", unit="ms", how=how))
    return figures


def _install_granian(run: Run) -> Path | None:
    """granian in an environment of its own, or None where it cannot be had."""
    run.say("installing granian, which Copperplate does not depend on")
    folder = run.folder / "granian"
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, "granian", "uvloop"], check=True, timeout=INSTALL_SECONDS, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        run.say(f"without granian: {type(error).__name__}")
        return None
    return folder / "bin" / "granian"


def _version(granian: Path) -> str:
    return subprocess.run([granian, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _granian(granian: Path, port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    return [str(granian), "--interface", "asginl", "--workers", "1", "--loop", "uvloop", *where, "bench.raw_app:app"]
