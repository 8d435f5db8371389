"""For tests of code that uses Copperplate: the ports in memory, and a clock that stands still.

They pass the same contract suites as the real adapters.
"""

from __future__ import annotations

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore

__all__ = ["FakeClock", "MemoryLedger", "MemoryStore"]
