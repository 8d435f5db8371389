"""Sweeps: giving up on generations whose leader died and that nobody asks for."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from copperplate.ports import Clock, Ledger

SWEEP_SECONDS: Final = 60.0


class Sweeps:
    """At most one a minute of `rows` generations, whoever asks."""

    def __init__(self, ledger: Ledger, clock: Clock, *, rows: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rows = rows
        self._due_at = -math.inf

    @property
    def is_due(self) -> bool:
        """Whether the last one began a minute ago."""
        return self._clock.monotonic() >= self._due_at

    async def run_if_due(self) -> None:
        """Sweep, unless one began within the last minute. Raises nothing of the ledger's."""
        if not self.is_due:
            return
        self._due_at = self._clock.monotonic() + SWEEP_SECONDS
        with contextlib.suppress(CopperplateError):  # correctness does not depend on the sweep
            await self._ledger.sweep(self._rows)
