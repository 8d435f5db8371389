"""`copperplate serve` as a container runs it: one of several machines over one Supabase project."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING

from tests.e2e.dev_server import STOP_SECONDS, UNSET, Answer
from tests.support.commands import COPPERPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.server import Standin
    from tests.standin.supabase import Supabase


class Machine:
    """A supervisor and its server processes."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str, *, timeout: float = 60) -> Answer:
        """Ask over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def tell_to_stop(self) -> None:
        """SIGTERM to the first process, as `docker stop` sends it."""
        self.process.send_signal(signal.SIGTERM)


def port_of(process: subprocess.Popen[str], then: str = "") -> int:
    """The port that a server says, `then` behind it; before that a slow one says what it waits for."""
    assert process.stderr is not None
    said = ""
    while not (ready := re.search(rf"serving on port (\d+){then}", said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    return int(ready[1])


@contextlib.contextmanager
def machine(project: Supabase, standin: Standin, *, workers: int = 2, **variables: str) -> Iterator[Machine]:
    """Run `copperplate serve` over a project, with fal's stand-in as provider, until the block ends."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(UNSET)},
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        **variables,
    }
    with tempfile.TemporaryDirectory(prefix="cp-") as folder:
        process = subprocess.Popen(
            [COPPERPLATE, "serve", "--host", "127.0.0.1", "--port", "0", "--workers", str(workers)],
            env=environment,
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            yield Machine(process, port_of(process))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
            process.stderr.close()
