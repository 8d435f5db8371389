"""A real uvicorn with httptools over `memory_app`."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from copperplate.adapters.supabase.users import make_local_token

if TYPE_CHECKING:
    from collections.abc import Iterator

JWT_SECRET = "a secret of at least thirty-two characters"
# One for the cron and for a signed-in person, so that a client with one header reaches every route.
CRON_SECRET = os.environ.get("MEMORY_TOKEN") or make_local_token(UUID(int=1), JWT_SECRET, seconds=3_600)


@contextlib.contextmanager
def memory_server(log: Path) -> Iterator[tuple[int, Path]]:
    """Its port and its log, until the block ends."""
    root = Path(__file__).parents[2]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # uvicorn takes what it inherits for a Unix socket and leaves Nagle's algorithm on: 40 ms an answer.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.listen(128)
        listener.set_inheritable(True)
        port = listener.getsockname()[1]
        arguments = f"--fd {listener.fileno()} --http httptools --no-access-log --app-dir {root}".split()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "tests.e2e.memory_app:app", *arguments],
                env={
                    **os.environ,
                    "MEMORY_TOKEN": CRON_SECRET,
                    "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
                },
                pass_fds=[listener.fileno()],
                stdout=output,
                stderr=output,
            )
    try:
        yield port, log
    finally:
        process.terminate()
        process.wait(timeout=30)
