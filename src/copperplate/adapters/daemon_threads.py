"""Threads that nobody waits for when the process ends: what they do may hang for good."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Job = tuple[Future[Any], "Callable[[], Any]"]


class DaemonThreads:
    """At most `most` threads. Those of `concurrent.futures` are joined by the interpreter before it ends."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._begun = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Threads know the queue alone: they end with whoever gave them work, closed or not.
        self._end = weakref.finalize(self, _end, self._jobs, most)

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Let a thread do `work`, once one is free. To be called from one thread."""
        future: Future[T] = Future()
        self._jobs.put((future, work))
        if self._begun < self._most:
            self._begun += 1
            name = f"{self._name}-{self._begun}"
            threading.Thread(target=_work_off, args=(self._jobs,), name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """End each thread after what was begun and given. Nobody waits for it."""
        self._end()


def _work_off(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, work = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is for whoever waits
                future.set_exception(error)
        del job, future, work  # a picture is not held until the next one


def _end(jobs: SimpleQueue[Job | None], threads: int) -> None:
    for _ in range(threads):
        jobs.put(None)
