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
# What all addresses of a process share beyond that. Behind a proxy that is not named everybody has one address: there
# a right key has to get in beside somebody's wrong ones.
SPARE: Final = 10
SPARE_EVERY_SECONDS: Final = 0.25
# Beyond it the address that was seen least recently starts anew; whoever has as many needs no other way round.
MAX_ADDRESSES: Final = 4_096


class WrongKeys:
    """Token buckets of one process, one per address and one of all: as the moment each is full again (GCRA)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._spare_full_at = -math.inf

    def check(self, address: str) -> None:
        """Raises `TooManyWrongKeys` where this address sent too many."""
        now = self._clock.monotonic()
        wait = self._full_at.get(address, now) - now - (BURST - 1) * EVERY_SECONDS
        if wait > 0:
            raise TooManyWrongKeys(math.ceil(wait))

    def take(self, address: str) -> str | None:
        """Count one that is wrong, or may be: as the address's, which is answered, or as one of all (None).

        Raises `TooManyWrongKeys` where both are used up.
        """
        now = self._clock.monotonic()
        try:
            self.check(address)
        except TooManyWrongKeys:
            if self._spare_full_at - now > (SPARE - 1) * SPARE_EVERY_SECONDS:
                raise
            self._spare_full_at = max(self._spare_full_at, now) + SPARE_EVERY_SECONDS
            return None
        self._full_at[address] = max(self._full_at.pop(address, now), now) + EVERY_SECONDS
        if len(self._full_at) > MAX_ADDRESSES:
            self._full_at.popitem(last=False)
        return address

    def give_back(self, taken: str | None) -> None:
        """It was not wrong after all; `taken` is what `take` answered."""
        if taken is None:
            self._spare_full_at -= SPARE_EVERY_SECONDS
        elif taken in self._full_at:
            self._full_at[taken] -= EVERY_SECONDS
