"""How long encoding rests after a turn, so that the event loop, which serves everybody, goes first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# After a turn, times its length, where the event loop never idles. Measured: docs/benchmarks.md, "rendition_flood".
RESTS: Final = 8
LONGEST_SECONDS: Final = 2.0
# A share is one of at least so long: in less there may be the end of a turn and nothing else.
WINDOW_SECONDS: Final = 0.05


class Pace:
    """Rests that grow with the square of the share of time in which the event loop worked lately.

    A thread of low priority is not enough: while it encodes it holds the interpreter's lock now and then, and the event
    loop waits for it. The rests are next to nothing where nobody else is served.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, worked: Callable[[], float] = time.thread_time
    ) -> None:
        self._now, self._worked = now, worked
        self._seen = now(), worked()
        self._share = 0.0

    def rest_after(self, seconds: float) -> float:
        """Seconds to rest after a turn of so many; called in the event loop's thread."""
        (before, worked_before), seen = self._seen, (self._now(), self._worked())
        if (passed := seen[0] - before) >= WINDOW_SECONDS:
            self._seen, self._share = seen, max(0.0, min(1.0, (seen[1] - worked_before) / passed))
        return min(LONGEST_SECONDS, seconds * RESTS * self._share**2)
