"""What goes with a picture: caching, validation, safety. Built as bytes; this is the hot path."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from copperplate.model import Outcome
from copperplate.recipes.objects import ALL_TAG, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.model import Entry, PictureFormat

RawHeaders = list[tuple[bytes, bytes]]

_EXPOSED: Final = (
    b"ETag, X-Cache, Cache-Status, X-Copperplate-Key, X-Copperplate-Generation-Key, X-Copperplate-Ignored, "
    b"X-Copperplate-Placeholder"
)
_OF_EVERY_ANSWER: Final[RawHeaders] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED),
]
# One hour everywhere: a purge reaches browsers and the CDN no later than that.
_OF_EVERY_PICTURE: Final[RawHeaders] = [
    (b"cache-control", b"public, max-age=3600, immutable"),
    (b"vercel-cdn-cache-control", b"public, max-age=3600"),
    *_OF_EVERY_ANSWER,
]
# An address must be forgotten well before its object is removed, an hour after it was discarded.
_OF_EVERY_ADDRESS: Final[RawHeaders] = [
    (b"cache-control", b"public, max-age=300"),
    (b"vercel-cdn-cache-control", b"public, max-age=300"),
    *_OF_EVERY_ANSWER,
]

_HIT: Final[RawHeaders] = [(b"x-cache", b"HIT"), (b"cache-status", b"Copperplate; hit")]
# RFC 9211: why the request went on to the provider, and whether it shared that way with others.
_CACHE_STATUS: Final[dict[Outcome, RawHeaders]] = {
    Outcome.HIT: _HIT,
    Outcome.STALE: _HIT,
    Outcome.GENERATED: [(b"x-cache", b"MISS"), (b"cache-status", b"Copperplate; fwd=uri-miss; stored")],
    Outcome.COALESCED: [(b"x-cache", b"MISS"), (b"cache-status", b"Copperplate; fwd=uri-miss; collapsed")],
}
_BY_OUTCOME: Final = {outcome: _OF_EVERY_PICTURE + status for outcome, status in _CACHE_STATUS.items()}

PREFLIGHT: Final[RawHeaders] = [
    (b"allow", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    # The asterisk does not stand for Authorization (Fetch standard, "CORS non-wildcard request-header name").
    (b"access-control-allow-headers", b"authorization, prefer, *"),
    (b"access-control-max-age", b"86400"),
]


def validators(entry: Entry, outcome: Outcome) -> RawHeaders:
    """The headers of a 304: everything but what describes the body. The strong ETag is the digest of the bytes."""
    return [
        *_BY_OUTCOME[outcome],
        *_tags(entry),
        (b"etag", b'"%b"' % entry.digest.encode()),
        *_keys(entry),
        *_placeholder(entry),
    ]


def of_picture(entry: Entry, outcome: Outcome, picture_format: PictureFormat) -> RawHeaders:
    """The headers of a picture that is answered whole."""
    headers = validators(entry, outcome)
    headers.append((b"content-type", picture_format.media_type.encode()))
    headers.append((b"content-length", b"%d" % entry.size_bytes))
    return headers


def elsewhere(entry: Entry, outcome: Outcome, url: str) -> RawHeaders:
    """The headers of a 302: the picture is at `url`."""
    return [
        *_OF_EVERY_ADDRESS,
        *_CACHE_STATUS[outcome],
        *_tags(entry),
        (b"location", url.encode("latin-1")),
        *_keys(entry),
        (b"content-length", b"0"),
        *_placeholder(entry),
    ]


def _keys(entry: Entry) -> RawHeaders:
    """Its own key, which stays unknown where its form finds no place, and the key that all its forms share."""
    return [
        (b"x-copperplate-key", entry.key.encode()),
        (b"x-copperplate-generation-key", entry.generation_key.encode()),
    ]


def _tags(entry: Entry) -> RawHeaders:
    """What a purge names; Vercel's CDN takes the second, others the first."""
    tags = f"{ALL_TAG},{tag_of(entry.generation_key)}".encode()
    return [(b"cache-tag", tags), (b"vercel-cache-tag", tags)]


def _placeholder(entry: Entry) -> RawHeaders:
    """A dictionary as RFC 8941 has it: the ThumbHash as bytes, and the dominant colour."""
    if (known := entry.placeholder) is None:
        return []
    return [
        (
            b"x-copperplate-placeholder",
            b'thumbhash=:%b:, color="%b"' % (b64encode(known.thumbhash), known.color.encode()),
        )
    ]


def if_none_match(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The entity tags that the caller holds, as sent; several headers are one list (RFC 9110, 5.3)."""
    held = b""
    for name, value in headers:
        if name == b"if-none-match":
            held = held + b", " + value if held else value
    return held


def is_held(held: bytes, entry: Entry, outcome: Outcome) -> bool:
    """Whether the caller holds this very picture: weak comparison (RFC 9110, 13.1.2).

    `*` stands for any picture that was there before this request, so never for one just made.
    """
    if held.strip() == b"*":
        return outcome in (Outcome.HIT, Outcome.STALE)
    # A quoted digest cannot be part of another tag: tags hold no quotes.
    return b'"%b"' % entry.digest.encode() in held
