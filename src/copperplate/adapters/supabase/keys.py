"""The keys a Supabase project signs tokens with, as it publishes them (RFC 7517); fetched seldom, kept for a while."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
from typing import TYPE_CHECKING, Any, Final

from copperplate.adapters.bounded_stream import PLAIN, read_beginning
from copperplate.errors import KeysUnavailable
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    import httpx
    from jwt import PyJWK

    from copperplate.ports import Clock

logger = logging.getLogger(__name__)

HEADERS: Final = {"accept": "application/json", **PLAIN}
FETCH_SECONDS: Final = 3.0
MAX_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 100
# As long as Supabase's own edge keeps them.
FRESH_SECONDS: Final = 600.0
# Where they cannot be fetched anew, the old ones go on for a day.
STALE_SECONDS: Final = 86_400.0
# A key nobody knows may be a new one; asking more often than this would let strangers make us ask.
PAUSE_SECONDS: Final = 60.0
# After a fetch that failed, where there are no keys at all.
RETRY_SECONDS: Final = 5.0
# By kind of key and curve: a key fixes its algorithm.
ALGORITHMS: Final = {"EC P-256": "ES256", "RSA None": "RS256"}
MIN_RSA_BITS: Final = 2_048
# Of private and shared keys (RFC 7518): whoever publishes one has lost it.
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class SigningKeys:
    """The published keys of one project, by their id."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        # Ids that were published once and are no more: what is signed with them was revoked.
        self._withdrawn: set[str] = set()
        self._fetched_at = self._ask_again_at = -math.inf
        self._fetches: SingleFlight[None] = SingleFlight(max_waiters=sys.maxsize)
        self._client: httpx.AsyncClient | None = None

    async def find(self, kid: str) -> PyJWK | None:
        """The key of that id; None where the project has none, by a set of keys fetched for this question.

        Raises `KeysUnavailable` where none could be fetched for a day, or ever; and for an id that is not known where
        the keys may not be fetched again yet: it may be that of a key made since, so this says nothing of the token.
        """
        asked_at = self._clock.monotonic()
        if self._is_wanting(kid):
            await self._fetches.run("keys", self._renew)
        if self._age() >= STALE_SECONDS:
            raise KeysUnavailable("the keys of Supabase Auth could not be fetched")
        key = self._keys.get(kid)
        if key is None and kid not in self._withdrawn and self._fetched_at < asked_at:
            unknown = KeysUnavailable("a token names a key that Supabase Auth did not have when it was asked last")
            unknown.retry_after_seconds = max(1, math.ceil(self._ask_again_at - self._clock.monotonic()))
            raise unknown
        return key

    async def close(self) -> None:
        """Close the connection."""
        await self._fetches.drain(within_seconds=0)
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _is_wanting(self, kid: str) -> bool:
        is_due = self._age() >= FRESH_SECONDS or kid not in self._keys
        return is_due and self._clock.monotonic() >= self._ask_again_at

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    async def _renew(self) -> None:
        try:
            found = _parse(await self._fetch())
            self._withdrawn = (self._withdrawn | self._keys.keys()) - found.keys()
            self._keys = found
            self._fetched_at = self._clock.monotonic()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning("the keys of Supabase Auth could not be fetched: %s", str(error) or type(error).__name__)
        # While there are keys that will do, a failing Auth costs those who wait for it at most three seconds a minute.
        pause = PAUSE_SECONDS if self._age() < STALE_SECONDS else RETRY_SECONDS
        self._ask_again_at = self._clock.monotonic() + pause

    async def _fetch(self) -> bytes:
        import httpx

        from copperplate.adapters.certificates import authorities

        if self._client is None:
            self._client = httpx.AsyncClient(verify=authorities(), timeout=FETCH_SECONDS)
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                self._client.stream("GET", self._url, headers=HEADERS) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise ValueError(f"HTTP {response.status_code}")
                body = await read_beginning(response, MAX_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ValueError(type(error).__name__) from error
        if len(body) > MAX_BYTES:
            raise ValueError("more bytes than keys can need")
        return body


def _parse(body: bytes) -> dict[str, PyJWK]:
    """Those keys of a set that can verify: public, for signatures, of an algorithm that is ours."""
    described = json.loads(body)
    if not isinstance(described, dict) or not isinstance(described.get("keys"), list):
        raise TypeError("not a set of keys")
    found = (_key(entry) for entry in described["keys"][:MAX_KEYS] if isinstance(entry, dict))
    return {str(key.key_id): key for key in found if key is not None}


def _key(described: dict[str, Any]) -> PyJWK | None:
    import jwt

    algorithm = ALGORITHMS.get(f"{described.get('kty')} {described.get('crv')}")
    is_ours = described.get("alg", algorithm) == algorithm and described.get("use", "sig") == "sig"
    is_public = not described.keys() & _SECRET_MEMBERS
    if algorithm is None or not is_ours or not is_public or not isinstance(described.get("kid"), str):
        return None
    try:
        key = jwt.PyJWK(described, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if algorithm == "ES256" or key.key.key_size >= MIN_RSA_BITS else None
