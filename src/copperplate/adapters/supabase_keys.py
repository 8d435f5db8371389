"""The keys a Supabase project signs tokens with, as it publishes them (RFC 7517); fetched seldom, kept for a while."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import KeysUnavailable

if TYPE_CHECKING:
    import httpx
    from jwt import PyJWK

    from copperplate.ports import Clock

logger = logging.getLogger(__name__)

FETCH_SECONDS: Final = 3.0
MAX_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 100
# As long as Supabase's own edge keeps them.
FRESH_SECONDS: Final = 600.0
# Where they cannot be fetched anew, the old ones go on for a day.
STALE_SECONDS: Final = 86_400.0
# A key nobody knows may be a new one; asking more often than this would let strangers make us ask.
PAUSE_SECONDS: Final = 60.0
# After a fetch that failed.
RETRY_SECONDS: Final = 5.0
# By kind of key and curve: a key fixes its algorithm.
ALGORITHMS: Final = {"EC P-256": "ES256", "RSA None": "RS256"}
MIN_RSA_BITS: Final = 2_048


class SigningKeys:
    """The published keys of one project, by their id."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = self._ask_again_at = -math.inf
        self._fetching = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None

    async def find(self, kid: str) -> PyJWK | None:
        """The key of that id; None where the project has none.

        Raises `KeysUnavailable` where none could be fetched for a day, or ever.
        """
        if self._is_wanting(kid):
            async with self._fetching:  # one fetch for all who wait
                if self._is_wanting(kid):
                    await self._renew()
        if self._age() >= STALE_SECONDS:
            raise KeysUnavailable("the keys of Supabase Auth could not be fetched")
        return self._keys.get(kid)

    async def close(self) -> None:
        """Close the connection."""
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
            self._keys = _parse(await self._fetch())
            self._fetched_at = self._clock.monotonic()
            pause = PAUSE_SECONDS
        except (OSError, ValueError, TypeError, KeyError, TimeoutError) as error:
            logger.warning("the keys of Supabase Auth could not be fetched: %s", str(error) or type(error).__name__)
            pause = RETRY_SECONDS
        self._ask_again_at = self._clock.monotonic() + pause

    async def _fetch(self) -> bytes:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=FETCH_SECONDS)
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._client.stream("GET", self._url) as response:
                if response.status_code != httpx.codes.OK:
                    raise ValueError(f"HTTP {response.status_code}")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise ValueError("more bytes than keys can need")
                return bytes(body)
        except httpx.HTTPError as error:
            raise ValueError(type(error).__name__) from error


def _parse(body: bytes) -> dict[str, PyJWK]:
    """Those keys of a set that can verify: public, for signatures, of an algorithm that is ours."""
    described = json.loads(body)
    listed = described["keys"] if isinstance(described, dict) else []
    found = (_key(each) for each in list(listed)[:MAX_KEYS] if isinstance(each, dict))
    return {str(key.key_id): key for key in found if key is not None}


def _key(described: dict[str, Any]) -> PyJWK | None:
    import jwt

    algorithm = ALGORITHMS.get(f"{described.get('kty')} {described.get('crv')}")
    is_ours = described.get("alg", algorithm) == algorithm and described.get("use", "sig") == "sig"
    if algorithm is None or not is_ours or "d" in described or not isinstance(described.get("kid"), str):
        return None
    try:
        key = jwt.PyJWK(described, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if algorithm == "ES256" or key.key.key_size >= MIN_RSA_BITS else None
