"""What a request shows of itself: at most one API key or sign-in, wherever it was put. Nothing is verified here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from copperplate.access.api_keys import invalid_credential
from copperplate.recipes.url import parameter_name, parameter_value

if TYPE_CHECKING:
    from starlette.types import Scope

PARAMETER: Final = "key"
# Meant as a key, however it is spelled or quoted: it is judged, and never taken for nobody's.
_KEY_LIKE: Final = re.compile(rb"[^A-Za-z0-9]*cp_", re.IGNORECASE)
# One in a header that is not for it.
_MISPLACED: Final = re.compile(rb"(?:\A|[^A-Za-z0-9])cp_[0-9A-Za-z]{8}")
_SEND: Final = "Send an API key as Authorization: Bearer, or as X-API-Key."


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A key or a token as received; neither is a request of somebody nobody knows."""

    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    # In the address, where only visible keys may stand.
    is_in_address: bool = False


NONE: Final = Credentials()


def read_credentials(scope: Scope) -> Credentials:
    """What a request of ASGI brings.

    A bearer that neither begins as a key nor has the three parts of a token is somebody else's, and none. Raises
    `Unauthorized` for two different ones, and for a key in the wrong place.
    """
    keys: set[bytes] = set()
    tokens: set[bytes] = set()
    for name, value in scope["headers"]:
        if name == b"authorization":
            _sort(value, keys, tokens)
        elif name == b"x-api-key":
            keys.add(value.strip(b" \t"))
    in_address = _keys_in(scope["query_string"])
    keys.update(in_address)
    if not keys and not tokens:
        return NONE
    if len(keys) + len(tokens) > 1:
        raise invalid_credential("Two different credentials came with this request. Send one.")
    if tokens:
        return Credentials(token=tokens.pop().decode("latin-1"))
    return Credentials(key=keys.pop().decode(errors="surrogateescape"), is_in_address=bool(in_address))


def without_key(query: bytes) -> bytes:
    """The query of an address without the key in it, which is of the caller and not of what is asked for."""
    if not _may_have_key(query):
        return query
    return b"&".join(part for part in query.split(b"&") if not _is_key(part))


def _sort(header: bytes, keys: set[bytes], tokens: set[bytes]) -> None:
    scheme, _, rest = header.partition(b" ")
    value = rest.strip(b" \t")
    if scheme.lower() == b"bearer":
        if _KEY_LIKE.match(value):
            keys.add(value)
        elif value.count(b".") == 2:
            tokens.add(value)
    elif _MISPLACED.search(header):
        raise invalid_credential(_SEND)


def _keys_in(query: bytes) -> set[bytes]:
    if not _may_have_key(query):
        return set()
    return {parameter_value(part) for part in query.split(b"&") if _is_key(part)}


def _may_have_key(query: bytes) -> bool:
    """Whether it is worth looking: most addresses of pictures have no such bytes."""
    return b"key" in query or b"%" in query


def _is_key(part: bytes) -> bool:
    name = part.partition(b"=")[0]
    return name == b"key" or (b"%" in name and parameter_name(part) == PARAMETER)
