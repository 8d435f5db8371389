"""`copperplate serve` as a person runs it: processes of its own, told everything by the environment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.e2e.dev_server import START_SECONDS, STOP_SECONDS, UNSET, Answer, ask, wait_until
from tests.support.commands import COPPERPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY = re.compile(r"serving on port (\d+) with")


class Served:
    """One `copperplate serve`, and what can be asked of it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        wait_until(self._is_ready, seconds=START_SECONDS, what=f"a server that says its port in {log}")
        said = READY.search(self.log)
        assert said, self.log
        self.port = int(said[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text()

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask over a connection of its own."""
        return ask(self.port, path, method=method, timeout=60, **headers)

    def _is_ready(self) -> bool:
        return bool(READY.search(self.log)) or self.process.poll() is not None


@contextlib.contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Served]:
    """Run `copperplate serve` on any free port until the block ends; its log lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(UNSET)},
        "COPPERPLATE_DATA_DIR": str(folder),
        **variables,
    }
    log = folder / "serve.log"
    with log.open("ab") as stderr:
        command = [COPPERPLATE, "serve", "--host", "127.0.0.1", "--port", "0", "--workers", "1", "--verbose"]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
    try:
        yield Served(process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
