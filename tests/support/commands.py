"""`copperplate` commands as processes of their own, forked from one that has imported the program.

A command that is started from nothing takes half a second of processor time, nearly all of it for imports, and the
tests run hundreds of them. What a test is to start, signal or end itself is started from nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
COPPERPLATE = str(Path(sys.executable).with_name("copperplate"))
NUMBER_BYTES = 12
READ_BYTES = 1_000_000


def run_command(
    *arguments: str, environment: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `copperplate` with these arguments to its end, within so many seconds. It has no input.

    A server, and what is to import something else, is started from nothing.
    """
    if arguments[:1] in (("dev",), ("serve",)) or "PYTHONPATH" in environment:
        return subprocess.run(
            [COPPERPLATE, *arguments], env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    asked = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, socket.socket(socket.AF_UNIX) as line:
        line.settimeout(timeout)
        line.connect(_parent())
        socket.send_fds(line, [json.dumps(asked).encode()], [output.fileno(), errors.fileno()])
        line.shutdown(socket.SHUT_WR)
        pid = _number(line)
        try:
            code = _number(line)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(arguments, timeout) from None
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read().decode(), errors.read().decode())


def _number(line: socket.socket) -> int:
    return int(line.recv(NUMBER_BYTES, socket.MSG_WAITALL))


@functools.cache
def _parent() -> str:
    """Where the process listens that commands are forked from. It ends when this one does."""
    address = str(Path(tempfile.mkdtemp(prefix="cp-commands-")) / "line")
    # The other end of its input stays open as long as this process lives; nothing else is kept of it.
    input_end, _ = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.commands", address],
        cwd=ROOT, stdin=input_end, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(input_end)
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == "ready\n"
    process.returncode = 0  # nobody waits for it
    return address


def serve(address: str) -> None:
    """Fork a command for each request, until the input ends."""
    import copperplate

    for module in pkgutil.walk_packages(copperplate.__path__, "copperplate."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            line, _ = listener.accept()
            # Between here and the command is a process that waits for it, so that this one can take the next.
            if not os.fork():
                listener.close()
                _run(line)
            line.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    Path(address).unlink()
    Path(address).parent.rmdir()


def _run(line: socket.socket) -> NoReturn:
    asked, outputs = b"", list[int]()
    while True:
        piece, descriptors, _, _ = socket.recv_fds(line, READ_BYTES, 2)
        outputs += descriptors
        asked += piece
        if not piece:
            break
    pid = os.fork()
    if not pid:
        line.close()
        _become(outputs, **json.loads(asked))
    line.sendall(f"{pid:{NUMBER_BYTES}}".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # who asked did not wait
        line.sendall(f"{code:{NUMBER_BYTES}}".encode())
    os._exit(0)


def _become(outputs: list[int], *, arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Run the command here, with what a new process would have."""
    from copperplate.cli import main
    from copperplate.generation import crash_points

    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    crash_points.arm(environment.get("COPPERPLATE_CRASH_AT"))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = [COPPERPLATE, *arguments]
    sys.exit(main())


if __name__ == "__main__":
    serve(sys.argv[1])
