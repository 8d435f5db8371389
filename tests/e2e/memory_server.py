"""A real uvicorn with httptools over `memory_app`."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CRON_SECRET = "sixteen characters or more"


@contextlib.contextmanager
def memory_server(log: Path) -> Iterator[tuple[int, Path]]:
    """Its port and its log, until the block ends."""
    tests = Path(__file__).parents[1]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.set_inheritable(True)
        port = listener.getsockname()[1]
        arguments = f"--fd {listener.fileno()} --http httptools --no-access-log --app-dir {tests / 'e2e'}".split()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "memory_app:app", *arguments],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])},
                pass_fds=[listener.fileno()],
                stdout=output,
                stderr=output,
            )
    try:
        yield port, log
    finally:
        process.terminate()
        process.wait(timeout=30)
