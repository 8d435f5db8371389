"""What a start is waiting for, said every few seconds: a slow one is never silent."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

SAY_SECONDS = 5.0


class Progress:
    """While the block runs, every five seconds a line beside the output says which step it is at."""

    def __init__(self, step: str, *, say_seconds: float = SAY_SECONDS) -> None:
        self.step = step
        self._say_seconds = say_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._say, name="copperplate-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _say(self) -> None:
        began = time.monotonic()
        while not self._over.wait(self._say_seconds):
            print(f"still {self.step}, after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
