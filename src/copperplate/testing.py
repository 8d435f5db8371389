"""For tests of code that uses Copperplate: the ports in memory, and a clock that stands still.

They pass the same contract suites as the real adapters.
"""

from __future__ import annotations

from copperplate.adapters.fake_clock import FakeClock
from copperplate.adapters.memory_ledger import MemoryLedger
from copperplate.adapters.memory_store import MemoryStore

__all__ = ["FakeClock", "MemoryLedger", "MemoryStore"]
