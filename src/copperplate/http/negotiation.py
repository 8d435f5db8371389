"""`/{w}x{h}.auto`: the format that a caller's Accept header promises to read (RFC 9110, 12.5.1).

A shared cache may ignore `Vary`, and would then give one caller's format to all. So no answer of a negotiated address
is stored by shared caches; every format has an address of its own for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from copperplate.model import PictureFormat
from copperplate.recipes.url import in_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.types import Message, Send

    from copperplate.http.raw_headers import RawHeaders

# Browsers send about 100; what stands behind it promises nothing.
MAX_ACCEPT_BYTES: Final = 4_096
# Of equal weight the first one: it is made ahead, and as small (docs/adr/0051). Only a name in full promises these:
# image/* and */* are sent by all.
_SMALL: Final = {b"image/webp": PictureFormat.WEBP, b"image/avif": PictureFormat.AVIF}
_FALL_BACKS: Final = (b"image/jpeg", b"image/*", b"*/*")
# Commas and semicolons in quotes separate nothing. A quote that is not closed holds all that follows.
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z|\\\Z)', re.DOTALL)
_WEIGHT: Final = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def negotiated_path(path: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The path of the picture in the format that is negotiated; `path` ends in `.auto`."""
    return in_format(path, negotiated_format(headers))


def negotiated_format(headers: Iterable[tuple[bytes, bytes]]) -> PictureFormat:
    """Of webp and avif the one of more weight where Accept names it, and gives jpg no more; else jpg."""
    weights: dict[bytes, float] = {}
    for name, weight in _weights(headers):
        # The last weight of a name counts, but one of 0 excludes it for good.
        if weights.get(name) != 0:
            weights[name] = weight
    fall_back = next((weights[name] for name in _FALL_BACKS if name in weights), 0.0)
    best = max(_SMALL, key=lambda name: weights.get(name, 0.0))
    return _SMALL[best] if weights.get(best, 0.0) > 0 and weights[best] >= fall_back else PictureFormat.JPG


def not_shared(send: Send) -> Send:
    """Mark each answer as one that depends on Accept and that no shared cache may store."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": _without_shared_caches(message["headers"])}
        await send(message)

    return marked


def _without_shared_caches(headers: RawHeaders) -> RawHeaders:
    kept = [
        (name, _private(value) if name == b"cache-control" else value)
        for name, value in headers
        if name not in (b"vercel-cdn-cache-control", b"cdn-cache-control")
    ]
    return [
        *kept,
        (b"vary", b"Accept"),
        (b"cdn-cache-control", b"no-store"),
        (b"vercel-cdn-cache-control", b"no-store"),
    ]


def _private(cache_control: bytes) -> bytes:
    """The same for the caller's own cache; what nobody may store stays so."""
    directives = [each.strip() for each in cache_control.split(b",")]
    if b"no-store" in directives:
        return cache_control
    return b", ".join((b"private", *(each for each in directives if each not in (b"public", b"private"))))


def _weights(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, float]]:
    """Media types in lower case, each with its weight; what cannot be read is passed over."""
    accept = b",".join(value for name, value in headers if name == b"accept")
    whole, _, _ = (
        accept[: MAX_ACCEPT_BYTES + 1].rpartition(b",") if len(accept) > MAX_ACCEPT_BYTES else (accept, b"", b"")
    )
    for part in _QUOTED.sub(b'""', whole).split(b","):
        name, *parameters = (each.strip().lower() for each in part.split(b";"))
        given = [each.partition(b"=")[2].strip() for each in parameters if each.partition(b"=")[0].strip() == b"q"]
        if not given:
            yield name, 1.0
        elif len(given) == 1 and _WEIGHT.fullmatch(given[0]):
            yield name, float(given[0])


def prefers_picture(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether Accept wants a picture rather than JSON: `image/*`, or a picture's media type. Without one it is JSON."""
    weights = dict(_weights(headers))
    picture = max((weight for name, weight in weights.items() if name.startswith(b"image/")), default=0.0)
    named = weights.get(b"application/json", weights.get(b"application/*"))
    if named is not None:
        return picture > named
    return picture > 0 and picture >= weights.get(b"*/*", 0.0)
