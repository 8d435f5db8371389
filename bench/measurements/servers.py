"""Which server should pictures come from? See docs/adr/0005."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from bench.harness.callers import tool
from bench.harness.interleaved import CONNECTIONS, compare, describe, interleave
from bench.harness.peers import install
from bench.harness.processes import SERVER_CORE, asgi, free_port, pinned, uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.harness.figures import Figure, Run

SIZES = {"100 KB": 102_400, "1.5 MB": 1_572_864}
BASELINE = "uvicorn (httptools, uvloop)"


def measure(run: Run) -> list[Figure]:
    """granian, uvicorn with httptools and uvloop, uvicorn with h11: raw ASGI, 100 KB and 1.5 MB."""
    commands: dict[str, Callable[[int], list[str]]] = {
        BASELINE: partial(uvicorn, "raw_app"),
        "uvicorn (h11, asyncio)": partial(uvicorn, "raw_app", http="h11", loop="asyncio"),
    }
    granian = _install_granian(run)
    if granian:
        commands[f"{_version(granian)} (uvloop)"] = partial(_granian, granian)
    return [figure for label, size in SIZES.items() for figure in _measure_size(run, label, size, commands)]


def _measure_size(run: Run, label: str, size: int, commands: Mapping[str, Callable[[int], list[str]]]) -> list[Figure]:
    body = run.folder / f"{size}.body"
    body.write_bytes(os.urandom(size))
    servers = {}
    with ExitStack() as stack:
        for number, (name, command) in enumerate(commands.items()):
            port = free_port()
            with pinned(SERVER_CORE):
                started = asgi(command(port), run.folder, body, port=port, log=f"{size}-{number}")
                servers[name] = stack.enter_context(started)
        seen = interleave(run, label, servers, "/", body.read_bytes(), rounds=run.pick(5, 1), seconds=run.pick(2, 1))
    how = (
        f"A raw ASGI callable in one worker on one core, {tool()} with {CONNECTIONS} connections on the other, in "
        f"turns; ratios to {BASELINE}. A server left out could not be installed."
    )
    others = [name for name in servers if name != BASELINE]
    figures = [figure for name in others for figure in compare(f"{label}, {name}", seen[name], seen[BASELINE], how)]
    return figures + [figure for name in servers for figure in describe(f"{label}, {name}", seen[name], how)]


def _install_granian(run: Run) -> Path | None:
    folder = install(run, "granian", ["granian", "uvloop"])
    return None if folder is None else folder / "bin" / "granian"


def _version(granian: Path) -> str:
    return subprocess.run([granian, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _granian(granian: Path, port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    return [
        str(granian),
        "--interface",
        "asginl",
        "--workers",
        "1",
        "--loop",
        "uvloop",
        *where,
        "bench.harness.raw_app:app",
    ]
