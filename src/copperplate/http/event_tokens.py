"""Tokens in the address of a private stream: an EventSource sends no header, so what permits it stands in its URL.

A token is random, permits one generation or batch to be watched, and is over after ten minutes. The ledger keeps its
SHA-256 alone. No log line holds a query.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from copperplate.recipes.url import parameter_name, parameter_value

if TYPE_CHECKING:
    from copperplate.ports import Wishes

PARAMETER: Final = "token"
VALID_FOR: Final = timedelta(minutes=10)
_RANDOM_BYTES: Final = 32
_FORM: Final = re.compile(r"[0-9A-Za-z_-]{43}")


async def make_token(ledger: Wishes, key: str) -> str:
    """A new token for whoever may watch `key`: a generation's key, or a batch's id as text.

    Its caller has made sure that it goes to the owner. Raises what the ledger raises.
    """
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    await ledger.begin_watch(key, digest_of(token), VALID_FOR)
    return token


async def permits(ledger: Wishes, key: str, token: str) -> bool:
    """Whether a token as received permits `key` to be watched now. Raises what the ledger raises."""
    # Nonsense costs no look-up.
    return _FORM.fullmatch(token) is not None and await ledger.may_watch(key, digest_of(token))


def digest_of(token: str) -> str:
    """What a token is kept and found by."""
    return hashlib.sha256(token.encode()).hexdigest()


def generation_events(key: str, token: str | None = None) -> str:
    """The path and query of a generation's stream."""
    return _with_token(f"/api/generations/{key}/events", token)


def batch_events(batch: object, token: str | None = None) -> str:
    """The path and query of a batch's stream."""
    return _with_token(f"/api/batches/{batch}/events", token)


def parameter_in(query: bytes, name: str) -> str | None:
    """The value of a parameter, the last one where it is repeated; None where it is absent or no text."""
    found = None
    for part in query.split(b"&"):
        if parameter_name(part) == name:
            found = parameter_value(part)
    return None if found is None else found.decode(errors="replace")


def _with_token(path: str, token: str | None) -> str:
    return path if token is None else f"{path}?{urlencode({PARAMETER: token})}"
