"""What goes with a picture: caching, validation, safety. Built as bytes; this is the hot path."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from copperplate.http import cache_status
from copperplate.http.ranges import content_range
from copperplate.model import Outcome
from copperplate.recipes.objects import ALL_TAG, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.generation.lookup import LookupResult
    from copperplate.http.raw_headers import RawHeaders
    from copperplate.model import Entry, PictureFormat

# Vercel's CDN takes the first, others the second (RFC 9213).
_OF_CDNS: Final = (b"vercel-cdn-cache-control", b"cdn-cache-control")
_EXPOSED: Final = (
    b"ETag, Content-Range, X-Cache, Cache-Status, X-Copperplate-Key, X-Copperplate-Generation-Key, "
    b"X-Copperplate-Ignored, X-Copperplate-Placeholder"
)
_OF_EVERY_ANSWER: Final[RawHeaders] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED),
]
# A purge reaches browsers no later than after this hour.
_FOR_BROWSERS: Final = b"public, max-age=3600, immutable"
# While the database does not answer nobody knows what was purged meanwhile.
_WHILE_STALE: Final = b"public, max-age=60"
# An address must be forgotten well before its object is removed, an hour after it was discarded.
_OF_AN_ADDRESS: Final = b"public, max-age=300"
ADDRESS_SECONDS: Final = 300
# For how long caches may keep a picture that the ledger or the store has just answered: as `_FOR_BROWSERS` says.
PICTURE_SECONDS: Final = 3600
PREFLIGHT: Final[RawHeaders] = [
    (b"allow", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    # The asterisk does not stand for Authorization (Fetch standard, "CORS non-wildcard request-header name").
    (b"access-control-allow-headers", b"authorization, prefer, *"),
    (b"access-control-max-age", b"86400"),
]


class Freshness(NamedTuple):
    """How long an answer lasts: `ttl_seconds` is what its tier grants its copy, below 0 where that is stale.

    CDNs may serve it for `cdn_seconds` without asking (0: not at all), and while they ask for `cdn_stale_seconds` more.
    """

    ttl_seconds: int
    cdn_seconds: int
    cdn_stale_seconds: int


def validators(found: LookupResult, freshness: Freshness) -> RawHeaders:
    """The headers of a 304: everything but what describes the body. The strong ETag is the digest of the bytes."""
    entry, outcome = found.entry, found.outcome
    return [
        *_caching(freshness.cdn_seconds, freshness.cdn_stale_seconds, is_stale=outcome is Outcome.STALE),
        *_OF_EVERY_ANSWER,
        *cache_status.of_picture(outcome, found.tier, freshness.ttl_seconds),
        *_tags(entry),
        (b"etag", etag_of(entry)),
        *_keys(entry),
        *_placeholder(entry),
    ]


def of_picture(found: LookupResult, freshness: Freshness, picture_format: PictureFormat) -> RawHeaders:
    """The headers of a picture that is answered whole."""
    headers = validators(found, freshness)
    headers.append((b"accept-ranges", b"bytes"))
    headers.append((b"content-type", picture_format.media_type.encode()))
    headers.append((b"content-length", b"%d" % found.entry.size_bytes))
    return headers


def of_part(whole: RawHeaders, part: range, size_bytes: int) -> RawHeaders:
    """The headers of a 206, from those of the whole picture of `size_bytes`."""
    return [
        *(header for header in whole if header[0] != b"content-length"),
        (b"content-range", content_range(part, size_bytes)),
        (b"content-length", b"%d" % len(part)),
    ]


def elsewhere(found: LookupResult, freshness: Freshness, url: str) -> RawHeaders:
    """The headers of a 302: the picture is at `url`."""
    entry = found.entry
    return [
        *_caching_of_address(freshness.cdn_seconds, is_stale=found.outcome is Outcome.STALE),
        *_OF_EVERY_ANSWER,
        *cache_status.of_picture(found.outcome, found.tier, min(freshness.ttl_seconds, ADDRESS_SECONDS)),
        *_tags(entry),
        (b"location", url.encode("latin-1")),
        *_keys(entry),
        (b"content-length", b"0"),
        *_placeholder(entry),
    ]


@lru_cache(8)
def _caching(cdn_seconds: int, cdn_stale_seconds: int, *, is_stale: bool) -> RawHeaders:
    """What browsers and CDNs are told of a picture. A CDN's own header takes the place of `Cache-Control` there."""
    browsers = _WHILE_STALE if is_stale else _FOR_BROWSERS
    if cdn_seconds == 0:
        return _caching_by(browsers, b"no-store")
    if is_stale:
        return _caching_by(browsers, _WHILE_STALE)
    window = b", stale-while-revalidate=%d" % cdn_stale_seconds if cdn_stale_seconds else b""
    return _caching_by(browsers, b"public, max-age=%d%b" % (cdn_seconds, window))


@lru_cache(8)
def _caching_of_address(cdn_seconds: int, *, is_stale: bool) -> RawHeaders:
    told = _WHILE_STALE if is_stale else _OF_AN_ADDRESS
    return _caching_by(told, told if cdn_seconds else b"no-store")


def _caching_by(browsers: bytes, cdns: bytes) -> RawHeaders:
    return [(b"cache-control", browsers), *((name, cdns) for name in _OF_CDNS)]


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


def etag_of(entry: Entry) -> bytes:
    """The strong entity tag of an entry's bytes."""
    return b'"%b"' % entry.digest.encode()


def is_held(held: bytes, etag: bytes, outcome: Outcome) -> bool:
    """Whether the caller holds the very picture of this strong entity tag: weak comparison (RFC 9110, 13.1.2).

    `*` stands for any picture that was there before this request, so never for one just made.
    """
    # A quoted digest cannot be part of another tag: tags hold no quotes.
    return etag in held or (held.strip() == b"*" and outcome in (Outcome.HIT, Outcome.STALE))
