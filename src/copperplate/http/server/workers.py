"""The supervisor of the server processes: it starts them, replaces them, and stops them. Needs the extra `server`.

A process that starts has no time limit, because a slow machine is no fault of the process: what it waits for is said
every few seconds. A process that serves is replaced when it ends, or when it answers nothing for longer than a lease.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.resource_tracker
import os
import pickle
import signal
import time
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

from uvicorn.supervisors.multiprocess import Process

from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from socket import socket

    from uvicorn import Config

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
# After a longer gap between two looks the supervisor itself stood still: workers are not judged by it.
MOST_SECONDS_A_TICK = 1.0
SAY_SECONDS = 5.0
# So many starts in a row may fail while no process serves.
MOST_FAILED_STARTS = 4
MOST_PAUSE_SECONDS = 30.0
# Added to the time for answers under way; a process that still runs then is killed.
KILL_SECONDS = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Step(StrEnum):
    """How far a worker is; each value completes the sentence "it is …"."""

    STARTING = "starting Python"
    IMPORTING = "importing the application"
    OPENING = "opening the database and the store"
    SERVING = "serving"


class WorkersFailed(CopperplateError, code="server_failed", status=503, title="The server processes do not start"):
    """No server process can be started; the message says how each of them ended."""


class Worker(Process):
    """One server process, and what its supervisor knows of it."""

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self.step = Step.STARTING
        self.silent_seconds = 0.0
        self.age_seconds = 0.0
        self._is_asked = False
        self._said = 0

    def target(self, sockets: list[socket] | None = None) -> None:
        """In the worker: say that Python has started, since what follows may end before it is asked."""
        self.child_conn.send(Step.IMPORTING)
        super().target(sockets)

    def pong(self) -> None:
        """In the worker: answer one question with the step it is at."""
        self.child_conn.recv()
        self.child_conn.send(self._step_here())

    def look(self, elapsed_seconds: float) -> None:
        """In the supervisor: take the answer, if there is one, and ask again. Never waits."""
        self.age_seconds += elapsed_seconds
        self.silent_seconds += elapsed_seconds
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            while self.parent_conn.poll():
                self.step = self.parent_conn.recv()
                self._is_asked = False
                self.silent_seconds = 0.0
            if not self._is_asked:
                self.parent_conn.send(b"?")
                self._is_asked = True

    def say_if_slow(self) -> None:
        """One line every few seconds while it starts."""
        if self.step is not Step.SERVING and self.age_seconds >= SAY_SECONDS * (self._said + 1):
            self._said = int(self.age_seconds / SAY_SECONDS)
            logger.info("worker %s is not ready after %.0f s: it is %s", self.pid, self.age_seconds, self.step)

    def tell_to_stop(self) -> None:
        """SIGTERM, also to a process that somebody stopped with SIGSTOP."""
        self.process.terminate()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Free what belongs to a process that has ended."""
        self.process.join()
        self.parent_conn.close()
        self.child_conn.close()

    def _step_here(self) -> Step:
        if self.server.started:
            return Step.SERVING
        return Step.OPENING if self.config.loaded else Step.IMPORTING


class Workers:
    """K worker processes over one listening socket, until a signal ends them."""

    def __init__(
        self,
        config: Config,
        listener: socket,
        *,
        silent_seconds: float,
        stop_seconds: float,
        announce_ready: Callable[[], None],
        worker: type[Worker] = Worker,
    ) -> None:
        """`silent_seconds`: how long a process that serves may answer nothing before it is replaced."""
        self._config = config
        self._listener = listener
        self._most_silent_seconds = silent_seconds
        self._stop_seconds = stop_seconds
        self._announce_ready: Callable[[], None] | None = announce_ready
        self._make = worker
        self._workers: list[Worker] = []
        self._serving: set[Worker] = set()
        self._signals: deque[int] = deque()
        self._endings: deque[str] = deque(maxlen=MOST_FAILED_STARTS)
        self._failed_starts = 0
        self._pause_seconds = 0.0

    def run(self) -> signal.Signals:
        """Serve until a signal; returns that signal once every process is gone. Raises `WorkersFailed`."""
        for number in STOP_SIGNALS:
            # SIGHUP ignored means nohup: the server outlives its terminal.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)
        try:
            looked_at = time.monotonic()
            while not self._signals:
                now = time.monotonic()
                self.look(min(now - looked_at, MOST_SECONDS_A_TICK))
                looked_at = now
                time.sleep(TICK_SECONDS)
            return signal.Signals(self._signals.popleft())
        finally:
            self._stop()

    def look(self, elapsed_seconds: float) -> None:
        """Judge every process once, and start those that are missing."""
        for worker in tuple(self._workers):
            worker.look(elapsed_seconds)
            self._judge(worker)
        serving = {worker for worker in self._workers if worker.step is Step.SERVING}
        if serving - self._serving:
            self._failed_starts = 0
            self._announce_once()
        elif self._serving and not serving:
            # Failed starts count only while no process serves.
            self._failed_starts, self._pause_seconds = 0, 0.0
        self._serving = serving
        if not serving and self._failed_starts >= MOST_FAILED_STARTS:
            raise WorkersFailed(_explain(self._endings))
        self._pause_seconds -= elapsed_seconds
        while len(self._workers) < self._config.workers and self._pause_seconds <= 0:
            self._start()

    def _judge(self, worker: Worker) -> None:
        if worker.exitcode is not None:
            self._replace(worker, _ending(worker.exitcode))
        elif worker.step is Step.SERVING and worker.silent_seconds > self._most_silent_seconds:
            worker.process.kill()
            self._replace(worker, f"killed by its supervisor: it answered nothing for {worker.silent_seconds:.0f} s")
        else:
            worker.say_if_slow()

    def _replace(self, worker: Worker, how: str) -> None:
        self._workers.remove(worker)
        worker.close()
        if worker.step is Step.SERVING:
            logger.warning("worker %s is gone (%s); another takes its place", worker.pid, how)
            return
        self._failed_starts += 1
        self._endings.append(how)
        self._pause_seconds = min(2.0 ** (self._failed_starts - self._config.workers), MOST_PAUSE_SECONDS)
        logger.warning("worker %s ended before it was ready (%s), while it was %s", worker.pid, how, worker.step)

    def _start(self) -> None:
        worker = self._make(self._config, [self._listener])
        with _without_interrupts():
            worker.start()
        self._workers.append(worker)

    def _announce_once(self) -> None:
        announce, self._announce_ready = self._announce_ready, None
        if announce is not None:
            announce()

    def _stop(self) -> None:
        """End every process: in order, and after a while by force."""
        for worker in self._workers:
            worker.tell_to_stop()
        kill_at = time.monotonic() + self._stop_seconds + KILL_SECONDS
        while any(worker.exitcode is None for worker in self._workers):
            self._answer_impatience(kill_at - time.monotonic())
            if time.monotonic() > kill_at:
                self._kill()
            time.sleep(TICK_SECONDS / 5)
        for worker in self._workers:
            worker.close()

    def _answer_impatience(self, seconds: float) -> None:
        if self._signals:
            self._signals.clear()
            logger.info("stopping already; what is not done within %.0f s is cut off", max(seconds, 0.0))

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.exitcode is None:
                logger.warning("worker %s did not stop in time and is killed", worker.pid)
                worker.process.kill()
                worker.process.join()

    def _note(self, number: int, _frame: object) -> None:
        self._signals.append(number)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, from their first instruction on: their supervisor tells them to stop.

    The terminal sends SIGINT to every process, and one that is still importing would show a traceback.
    """
    # Starting the tracker unblocks the signal.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # real-time signals have no names
        return f"signal {-exit_code}"


def _explain(endings: Collection[str]) -> str:
    message = f"{len(endings)} server processes in a row ended before they were ready ({', '.join(endings)})"
    if all(ending == signal.SIGKILL.name for ending in endings):
        return (
            f"{message}. Something outside killed them: the system's log says what (`dmesg`, the container's events). "
            "Where the memory limit was met, raise it, or start fewer with --workers"
        )
    return f"{message}. The lines above say why; mend that and start again"
