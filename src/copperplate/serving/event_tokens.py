"""Tokens in the address of a private stream: an EventSource sends no header, so what permits it stands in its URL.

A token is random, permits one generation or batch to be watched, and is over after ten minutes. The ledger keeps its
SHA-256 alone. No log line holds a query.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from copperplate.ports import Clock, Wishes

VALID_FOR: Final = timedelta(minutes=10)
# For so long a process hands the same one out again: whoever looks every two seconds writes no row each time.
SAME_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 1_000
_RANDOM_BYTES: Final = 32
_FORM: Final = re.compile(r"[0-9A-Za-z_-]{43}")


class EventTokens:
    """Hands tokens out, and knows those that permit something. A process has one."""

    def __init__(self, *, ledger: Wishes, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        # By what is watched: the last token, and until when it is handed out again; the oldest first.
        self._last: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def hand_out(self, key: str) -> str:
        """A token for whoever may watch `key`, a generation's key or a batch's id as text; it is valid for 9 minutes.

        Its caller has made sure that it goes to the owner. Raises what the ledger raises.
        """
        now = self._clock.monotonic()
        token, until = self._last.get(key, ("", now))
        if now < until:
            return token
        token = secrets.token_urlsafe(_RANDOM_BYTES)
        await self._ledger.begin_watch(key, digest_of(token), VALID_FOR)
        self._last[key] = (token, now + SAME_SECONDS)
        self._last.move_to_end(key)
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)
        return token

    async def permits(self, key: str, token: str) -> bool:
        """Whether a token as received permits `key` to be watched now. Raises what the ledger raises."""
        # Nonsense costs no look-up.
        return _FORM.fullmatch(token) is not None and await self._ledger.may_watch(key, digest_of(token))


def digest_of(token: str) -> str:
    """What a token is kept and found by."""
    return hashlib.sha256(token.encode()).hexdigest()
