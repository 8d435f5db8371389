"""Digests of whole pictures, without holding the event loop up."""

from __future__ import annotations

import asyncio
from typing import Final

from copperplate.recipes.objects import sha256_hex

# Hashing more than this is worth a thread of its own.
INLINE_BYTES: Final = 256 * 1024


async def digest_of(body: bytes) -> str:
    """The digest of some bytes; see `sha256_hex`."""
    return await asyncio.to_thread(sha256_hex, body) if len(body) > INLINE_BYTES else sha256_hex(body)
