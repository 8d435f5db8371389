"""`Cache-Status` (RFC 9211) and `X-Cache`: which tier an answer came from, or why none had it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.denials import TakenDown
from copperplate.errors import GenerationFailed
from copperplate.feed import Tier
from copperplate.model import Outcome

if TYPE_CHECKING:
    from copperplate.http.raw_headers import RawHeaders

NAME: Final = b"cache-status"
# Why the request went on to the provider, and whether it shared that way with others.
_MISSES: Final[dict[Outcome, RawHeaders]] = {
    Outcome.GENERATED: [(b"x-cache", b"MISS"), (NAME, b"Copperplate; fwd=uri-miss; stored")],
    Outcome.COALESCED: [(b"x-cache", b"MISS"), (NAME, b"Copperplate; fwd=uri-miss; collapsed")],
}
_NEGATIVE: Final = b"Copperplate; hit; detail=negative"
_GONE: Final = b"Copperplate; hit; detail=gone"


def of_picture(outcome: Outcome, tier: Tier | None, ttl_seconds: int) -> RawHeaders:
    """The two headers of a picture. No tier is the ledger, whose pictures are in the store."""
    if outcome in _MISSES:
        return _MISSES[outcome]
    detail = (tier or Tier.STORAGE).value.encode()
    return [(b"x-cache", b"HIT"), (NAME, b"Copperplate; hit; ttl=%d; detail=%b" % (ttl_seconds, detail))]


def of_error(error: Exception) -> RawHeaders:
    """The header of an error that was looked up and not found out by this request; none of others."""
    if isinstance(error, TakenDown):
        return [(NAME, _GONE)]
    return [(NAME, _NEGATIVE)] if isinstance(error, GenerationFailed) and error.is_remembered else []
