"""One instance of the function: a process under Vercel's runtime, spoken to as the platform speaks to it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import log_watch
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

START_SECONDS = 60.0
# The platform grants this much between SIGTERM and the end.
STOP_SECONDS = 0.5
HOST = "pictures.vercel.app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller got."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Function:
    """A running instance; `said` is what its runtime told the platform, oldest first."""

    def __init__(self, process: subprocess.Popen[bytes], began: float) -> None:
        self.process = process
        self.began = began
        self.said: list[dict[str, Any]] = []
        self._told = threading.Condition()
        self._invocations = itertools.count(1)

    @property
    def port(self) -> int:
        """Where the runtime takes requests."""
        return int(self._find("server-started")["payload"]["httpPort"])

    @property
    def log(self) -> str:
        """Everything that was logged or printed."""
        payloads = [message["payload"] for message in tuple(self.said) if message["type"] == "log"]
        return "\n".join(base64.b64decode(payload["message"]).decode() for payload in payloads)

    def call(self, path: str, *, method: str = "GET", timeout: float = 60, **headers: str) -> Answer:
        """Ask and wait for the answer and the end of the invocation."""
        log_watch.note_url(path)
        with self.calling(path, method=method, timeout=timeout, **headers) as (connection, invocation):
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(status=response.status, headers=names, body=response.read())
        self.wait_for_end(invocation, seconds=timeout)
        return answer

    @contextlib.contextmanager
    def calling(
        self, path: str, *, method: str = "GET", body: str | None = None, timeout: float = 60, **headers: str
    ) -> Iterator[tuple[http.client.HTTPConnection, str]]:
        """A request that was sent, and its invocation; leaving the block hangs up."""
        invocation = f"invocation-{next(self._invocations)}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {
            "host": HOST,
            "x-forwarded-proto": "https",
            "x-forwarded-for": "203.0.113.7",
            "x-vercel-id": "iad1::local",
            "x-vercel-internal-invocation-id": invocation,
            "x-vercel-internal-request-id": "1",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            connection.request(method, path, body, sent)
            yield connection, invocation
        finally:
            connection.close()

    def wait_for_end(self, invocation: str, *, seconds: float = 60) -> None:
        """Return once the runtime says that an invocation is over: from then on the platform may freeze it."""
        self.wait_until(lambda: self.has_ended(invocation), seconds=seconds, what=f"the end of {invocation}")

    def has_ended(self, invocation: str) -> bool:
        """Whether the platform was told that an invocation is over."""
        ended = [message["payload"]["context"] for message in tuple(self.said) if message["type"] == "end"]
        return invocation in [context["invocationId"] for context in ended]

    def terminate(self) -> int:
        """End the instance as the platform does: SIGTERM, and half a second later SIGKILL; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def listen(self, server: socket.socket) -> None:
        """Take down what the runtime says, until it is gone."""
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            held = b""
            while received := connection.recv(65_536):
                *messages, held = (held + received).split(b"\0")
                with self._told:
                    self.said += [{**json.loads(message), "at": time.monotonic()} for message in messages]
                    self._told.notify_all()
            connection.close()

    def wait_until(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Return once what the runtime said fulfils a condition."""
        with self._told:
            assert self._told.wait_for(lambda: condition() or self.process.poll() is not None, wall(seconds)), what
            assert condition(), f"{what}: the process ended with {self.process.returncode}\n{self.log}"

    def _find(self, kind: str) -> dict[str, Any]:
        return next(message for message in tuple(self.said) if message["type"] == kind)


@contextlib.contextmanager
def running(task: Path, python: Path, settings: Mapping[str, Any], **environ: str) -> Iterator[Function]:
    """An instance of the function laid out at `task`, with nothing set but what is given."""
    module = settings["handler"].rpartition(".")[0]
    with tempfile.TemporaryDirectory(prefix="cp-") as folder, socket.socket(socket.AF_UNIX) as server:
        address = f"{folder}/ipc"
        server.bind(address)
        server.listen(1)
        began = time.monotonic()
        with (Path(folder) / "output").open("w+b") as output:
            process = subprocess.Popen(
                [python, "-c", f"import {module}"],
                cwd=task,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": folder,
                    "TMPDIR": folder,  # an instance has its own
                    "LANG": "C.UTF-8",
                    "TZ": "UTC",
                    "VERCEL": "1",
                    "VERCEL_ENV": "production",
                    "VERCEL_URL": HOST,
                    "VERCEL_IPC_PATH": address,
                    **settings["environment"],
                    **environ,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            function = Function(process, began)
            listener = threading.Thread(target=function.listen, args=(server,), daemon=True)
            listener.start()
            try:
                function.wait_until(
                    lambda: any(m["type"] == "server-started" for m in function.said),
                    seconds=START_SECONDS,
                    what="a start",
                )
                yield function
            finally:
                if process.poll() is None:
                    function.terminate()
                output.seek(0)
                log_watch.read(output.read().decode(errors="replace"))
                log_watch.read("\n".join(json.dumps(each) for each in function.said if each["type"] == "log"))
                server.close()
                listener.join(timeout=5)
