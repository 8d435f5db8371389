"""An event loop without a clock, sockets or threads: time jumps to the next timer, processes can be frozen."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# A history has a few thousand steps; what takes more turns in circles.
MAX_STEPS = 200_000
PROCESS: contextvars.ContextVar[Freezable | None] = contextvars.ContextVar("process", default=None)


@dataclass(eq=False)
class Freezable:
    """A process as the loop sees it: while it is frozen, nothing that belongs to it runs.

    A killed process is one that is frozen for ever: no `finally`, no cancellation, no goodbye.
    """

    name: str
    thaws_at: float = -math.inf
    backlog: list[asyncio.Handle] = field(default_factory=list)


class SimulatedLoop:
    """Runs what is ready in the order it became ready; then lets time jump. Nothing else decides the order."""

    def __init__(self) -> None:
        self._itself: Any = self  # as asyncio wants it: all it uses of a loop is here
        self.complaints: list[str] = []
        self._now = 0.0
        self._count = 0
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []

    def run(self, seconds: float = math.inf) -> None:
        """Run until nothing is left to do, or for so long."""
        until = self._now + seconds
        asyncio._set_running_loop(self._itself)
        try:
            for _ in range(MAX_STEPS):
                if not self._step(until):
                    break
            else:
                self.complaints.append("it never comes to rest")
        finally:
            asyncio._set_running_loop(None)
        if until < math.inf:
            self._now = until

    def start(self, process: Freezable | None, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin some work inside a process, or outside of any."""
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        return self.create_task(work, context=context)

    def freeze(self, process: Freezable, seconds: float) -> None:
        """Let nothing of a process run for so long, as SIGSTOP does; for ever, as SIGKILL does."""
        process.thaws_at = max(process.thaws_at, self._now + seconds)
        if seconds < math.inf:
            self.call_later(seconds, self.thaw, process, context=contextvars.Context())

    def thaw(self, process: Freezable, *, anyway: bool = False) -> None:
        """Let a process go on where it was."""
        if process.thaws_at <= self._now or anyway:
            process.thaws_at = -math.inf
            self._ready.extend(process.backlog)
            process.backlog.clear()

    def _step(self, until: float) -> bool:
        if self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                process: Freezable | None = handle._context.get(PROCESS)  # type: ignore[attr-defined]
                if process is not None and process.thaws_at > self._now:
                    process.backlog.append(handle)
                else:
                    handle._run()
            return True
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers or self._timers[0][0] > until:
            return False
        self._now, _, timer = heapq.heappop(self._timers)
        self._ready.append(timer)
        return True

    # --- what asyncio asks of a loop --------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._itself)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        context, process = options.get("context"), PROCESS.get()
        if context is not None and process is not None:
            context.run(PROCESS.set, process)  # whatever a process begins belongs to it
        task = asyncio.Task(coro, loop=self._itself, **options)
        self._tasks.append(task)  # those of the dead too: nothing else may hold them
        return task

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._itself, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self._itself, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it where it is; it is skipped when its time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def finish(self, processes: list[Freezable]) -> None:
        """Cancel what is left, the frozen and the dead included, so that nothing is destroyed while pending."""
        for task in self._tasks:
            task.cancel()
        for process in processes:
            self.thaw(process, anyway=True)
        with contextlib.suppress(asyncio.CancelledError):
            self.run(3_600)


def run_now(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("an effect must not wait")
