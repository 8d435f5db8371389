"""How many direct uploads this process offers one caller: each is an object of 32 MB that lies for a day."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.denials import TooManyUploadsOfCaller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.ports import Clock

MAX_OFFERS: Final = 20
WITHIN_SECONDS: Final = timedelta(minutes=10).total_seconds()


class UploadOffers:
    """When each caller was last offered direct uploads, for as long as it counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Who was offered one last stands last.
        self._offered: OrderedDict[str, deque[float]] = OrderedDict()

    @contextmanager
    def one_for(self, owner: str) -> Iterator[None]:
        """One more for this owner, unless the block fails. Raises `TooManyUploadsOfCaller`."""
        now = self._now()
        self._forget(now)
        offered = self._offered.setdefault(owner, deque())
        while offered and offered[0] <= now - WITHIN_SECONDS:
            offered.popleft()
        if len(offered) >= MAX_OFFERS:
            raise TooManyUploadsOfCaller(MAX_OFFERS, math.ceil(offered[0] + WITHIN_SECONDS - now))
        offered.append(now)
        self._offered.move_to_end(owner)
        try:
            yield
        except BaseException:
            offered.remove(now)
            raise

    def _now(self) -> float:
        return self._clock.monotonic()

    def _forget(self, now: float) -> None:
        """Remember nobody whose last offer does not count any more."""
        while self._offered:
            owner, offered = next(iter(self._offered.items()))
            if offered and offered[-1] > now - WITHIN_SECONDS:
                return
            del self._offered[owner]
