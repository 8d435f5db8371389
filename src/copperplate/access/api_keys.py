"""API keys: their form, and the ring of those that this process remembers."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.access.wrong_keys import WrongKeys
from copperplate.errors import Unauthorized
from copperplate.ports.access import FoundApiKey, KeyState
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.api_keys import ApiKey
    from copperplate.ports import ApiKeys, Clock

# `cp_`, what operators name the key by, the secret (62^43 > 2^256), the check. Nothing that a shell or an address has
# to escape, and one word to double-click.
MARK: Final = "cp_"
PREFIX_CHARS: Final = 8
SECRET_CHARS: Final = 43
CHECK_CHARS: Final = 6
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# How long a process goes by what the ledger said of a key.
REMEMBERED: Final = timedelta(seconds=10)
MAX_FOUND: Final = 1_024
MAX_UNKNOWN: Final = 4_096
CHALLENGE: Final = 'Bearer error="invalid_token"'

# The same for one that was mistyped: which characters are wrong helps nobody else.
UNKNOWN: Final = "This is no API key of this server. Check that it was copied whole."
_ENDED: Final[Mapping[KeyState, str]] = {
    KeyState.EXPIRED: "This API key has expired. Ask the owner of this server for another.",
    KeyState.REVOKED: "This API key was revoked. Ask the owner of this server for another.",
    KeyState.ROTATED: "This API key was replaced by a newer one. Use that one.",
}
_FORM: Final = re.compile(rf"{MARK}([0-9A-Za-z]{{{PREFIX_CHARS}}})[0-9A-Za-z]{{{SECRET_CHARS + CHECK_CHARS}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    found: FoundApiKey
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A new key, `text`, to be shown once; the ledger keeps the other two."""

    text: str = field(repr=False)
    prefix: str
    digest: str


def make_key(prefix: str | None = None) -> MadeKey:
    """A new key, of this prefix or of a new one."""
    prefix = prefix or _chance(PREFIX_CHARS)
    text = f"{MARK}{prefix}{_chance(SECRET_CHARS)}"
    text += _check_of(text)
    return MadeKey(text=text, prefix=prefix, digest=digest_of(text))


def is_whole(text: str) -> bool:
    """Whether this has the form of a key, its check included. One that was mistyped has not."""
    return _FORM.fullmatch(text) is not None and _check_of(text[:-CHECK_CHARS]) == text[-CHECK_CHARS:]


def digest_of(text: str) -> str:
    """What a key is kept and found by. Looking it up tells nothing by its time: nobody can choose a digest's digits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _chance(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _check_of(text: str) -> str:
    """CRC-32 in base 62: finds typing errors, and is no secret."""
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(CHECK_CHARS):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


class KeyRing:
    """Finds keys in the ledger and remembers them for ten seconds, those that are not there too."""

    def __init__(self, *, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._found: OrderedDict[str, _Remembered] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lookups = SingleFlight[FoundApiKey | None]()
        self._wrong_keys = WrongKeys(clock)

    async def find(self, text: str, address: str) -> ApiKey:
        """The key that this text is, where it is in force; `address` is who sends it.

        Raises `Unauthorized` in words that repeat nothing of it, `TooManyWrongKeys`, and what the ledger raises. A key
        that was found before is never refused for wrong ones from its address.
        """
        if not is_whole(text):
            # It costs no look-up, so it counts as none: a client that lost a part of its key locks nobody out.
            raise invalid_credential(UNKNOWN)
        digest = digest_of(text)
        now = self._clock.monotonic()
        known = self._found.get(digest)
        if known is not None and now < known.until:
            self._found.move_to_end(digest)
            return _in_force(known.found)
        if known is None and now < self._unknown.get(digest, now):
            self._wrong_keys.check(address)
            raise invalid_credential(UNKNOWN)
        may_be_wrong = known is None and not self._lookups.is_awaited(digest)
        # Before the look-up: of a thousand at once, no more are looked up than of a thousand one by one.
        taken = self._wrong_keys.take(address) if may_be_wrong else None
        found: FoundApiKey | None = None
        is_answered = False
        try:
            found, _ = await self._lookups.run(digest, lambda: self._look_up(digest))
            is_answered = True
        finally:
            if may_be_wrong and (found is not None or not is_answered):
                self._wrong_keys.give_back(taken)
        if found is None:
            raise invalid_credential(UNKNOWN)
        return _in_force(found)

    async def _look_up(self, digest: str) -> FoundApiKey | None:
        asked_at = self._clock.monotonic()
        found = await self._keys.find_api_key(digest)
        if found is None:
            self._found.pop(digest, None)
            self._remember_unknown(digest)
            return None
        # From before the call: a key that is revoked now is refused in ten seconds at most.
        left = REMEMBERED if found.left is None or found.state is not KeyState.ACTIVE else min(REMEMBERED, found.left)
        self._found[digest] = _Remembered(found=found, until=asked_at + left.total_seconds())
        self._found.move_to_end(digest)
        _trim(self._found, MAX_FOUND)
        return found

    def _remember_unknown(self, digest: str) -> None:
        self._unknown[digest] = self._clock.monotonic() + REMEMBERED.total_seconds()
        self._unknown.move_to_end(digest)
        _trim(self._unknown, MAX_UNKNOWN)


def _in_force(found: FoundApiKey) -> ApiKey:
    if found.state is not KeyState.ACTIVE:
        raise invalid_credential(_ENDED[found.state])
    return found.key


def invalid_credential(message: str) -> Unauthorized:
    """What is answered where a credential is not valid (RFC 6750, section 3.1)."""
    refused = Unauthorized(message)
    refused.challenge = CHALLENGE
    return refused


def _trim(remembered: OrderedDict[str, Any], most: int) -> None:
    while len(remembered) > most:
        remembered.popitem(last=False)
