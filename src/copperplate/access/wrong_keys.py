"""How many wrong API keys one address may send: each costs a look-up in the ledger, or could."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from copperplate.denials import TooManyWrongKeys

if TYPE_CHECKING:
    from copperplate.ports import Clock

# At once, and then one in so many seconds: a person who pastes the wrong key never meets it.
BURST: Final = 30
EVERY_SECONDS: Final = 2.0
# Beyond it the address that was seen least recently starts anew; whoever has as many needs no other way round.
MAX_ADDRESSES: Final = 4_096


class WrongKeys:
    """One token bucket per address, of one process: as the moment at which it will be full again (GCRA)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises `TooManyWrongKeys` where this address sent too many."""
        now = self._clock.monotonic()
        wait = self._full_at.get(address, now) - now - (BURST - 1) * EVERY_SECONDS
        if wait > 0:
            raise TooManyWrongKeys(math.ceil(wait))

    def take(self, address: str) -> None:
        """Count one that is wrong, or may be; raises `TooManyWrongKeys` where it is one too many."""
        self.check(address)
        now = self._clock.monotonic()
        self._full_at[address] = max(self._full_at.pop(address, now), now) + EVERY_SECONDS
        if len(self._full_at) > MAX_ADDRESSES:
            self._full_at.popitem(last=False)

    def give_back(self, address: str) -> None:
        """It was not wrong after all."""
        if address in self._full_at:
            self._full_at[address] -= EVERY_SECONDS
