"""One response, which may be sent to many callers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from copperplate.http.raw_headers import checked_lines_of

if TYPE_CHECKING:
    from copperplate.feed import Tier
    from copperplate.http.raw_headers import RawHeaders
    from copperplate.model import Outcome

# The attribute of a `send` whose server takes an `Answer` and its body, and says whether it has sent them.
SEND_WHOLE: Final = "send_whole"
_LENGTH: Final = b"content-length"
# They have no body, and need no length (RFC 9110, 8.6).
_BODILESS: Final = frozenset({204, 304})


class Answer:
    """One response, and the outcome it is counted as (None: not counted). `tier` had the picture (None: the ledger)."""

    __slots__ = ("_head", "body", "headers", "outcome", "status", "tier")

    def __init__(
        self, status: int, headers: RawHeaders, body: bytes, outcome: Outcome | None, tier: Tier | None = None
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.outcome = outcome
        self.tier = tier
        self._head = b""

    @property
    def head(self) -> bytes:
        """Its headers, joined once, for a server that sends them as they are; empty where that must not be."""
        # A body of unknown length is sent in chunks.
        if not self._head and (self.status in _BODILESS or any(name == _LENGTH for name, _ in self.headers)):
            with contextlib.suppress(ValueError):
                self._head = checked_lines_of(self.headers)
        return self._head

    def with_headers(self, headers: RawHeaders) -> Answer:
        """The same with these after its own."""
        return Answer(self.status, [*self.headers, *headers], self.body, self.outcome, self.tier)

    def with_body(self, body: bytes) -> Answer:
        """The same with other bytes, as many as its headers say."""
        answer = Answer(self.status, self.headers, body, self.outcome, self.tier)
        answer._head = self.head
        return answer
