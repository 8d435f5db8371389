"""How Supabase is reached: one HTTP client, shared by the ledger and the object store, and the headers of a key."""

from __future__ import annotations

from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from copperplate.adapters.certificates import authorities

CONNECT_SECONDS: Final = 2.0
# Between two reads; each adapter bounds its calls as a whole.
READ_SECONDS: Final = 20.0
MAX_CONNECTIONS: Final = 50
# Longer than pauses between requests, shorter than the gateway keeps a connection.
KEEPALIVE_SECONDS: Final = 60.0

# Everything the client raises when no whole answer came; the second is what its transport leaves untranslated.
TRANSPORT_ERRORS: Final = (httpx.HTTPError, aiohttp.ClientError)


def make_client() -> httpx.AsyncClient:
    """A client for one Supabase project; whoever made it closes it. It follows no redirects and repeats nothing.

    aiohttp moves the bytes: a call costs a third of the time that it costs over httpx's own transport
    (docs/adr/0015-postgrest-over-aiohttp.md).
    """
    return HttpxAiohttpClient(
        verify=authorities(),
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
    )


def key_headers(key: str) -> dict[str, str]:
    """The headers that carry a project's key: `sb_secret_…` is no token, a legacy key is one as well."""
    if key.startswith("sb_secret_"):
        return {"apikey": key}
    return {"apikey": key, "Authorization": f"Bearer {key}"}
