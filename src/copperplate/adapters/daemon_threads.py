"""Threads that nobody waits for when the process ends: what they do may hang for good."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Jobs that wait for a thread at most, those that were given up among them: then all threads hang, or much is asked.
MAX_WAITING: Final = 500


class TooManyWaiting(Exception):
    """So many jobs wait for a thread that no other one is taken."""


class _Job(Future[T]):
    """A future with its work, until that is begun; one that is cancelled holds nothing while it waits for a thread."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__()
        self.work: Callable[[], T] | None = work

    def cancel(self) -> bool:
        if is_cancelled := super().cancel():
            self.work = None
        return is_cancelled


class DaemonThreads:
    """At most `most` threads. Those of `concurrent.futures` are joined by the interpreter before it ends."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._begun = 0
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        # Threads know the queue alone: they end with whoever gave them work, closed or not.
        self._end = weakref.finalize(self, _end, self._jobs, most)

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Let a thread do `work`, once one is free. To be called from one thread. Raises `TooManyWaiting`."""
        if self._jobs.qsize() >= MAX_WAITING:
            raise TooManyWaiting
        job = _Job(work)
        self._jobs.put(job)
        if self._begun < self._most:
            self._begun += 1
            name = f"{self._name}-{self._begun}"
            threading.Thread(target=_work_off, args=(self._jobs,), name=name, daemon=True).start()
        return job

    def close(self) -> None:
        """End each thread after what was begun and given. Nobody waits for it."""
        self._end()


def _work_off(jobs: SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        work, job.work = job.work, None
        if job.set_running_or_notify_cancel() and work is not None:
            try:
                job.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is for whoever waits
                job.set_exception(error)
        del job, work  # a picture is not held until the next one


def _end(jobs: SimpleQueue[_Job[Any] | None], threads: int) -> None:
    for _ in range(threads):
        jobs.put(None)
