"""For tests of code that uses Copperplate: the ports in memory, and a clock that stands still.

They pass the same contract suites as the real adapters.
"""

from __future__ import annotations

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.generation.lookup import LookupOptions, Permit

# May have anything made, without a budget.
PERMIT = Permit()
GENERATE = LookupOptions(permit=PERMIT)

__all__ = ["GENERATE", "PERMIT", "FakeClock", "MemoryLedger", "MemoryStore"]
