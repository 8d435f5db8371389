"""Whether a Redis server does what the tier needs, for `copperplate doctor`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from redis.exceptions import RedisError

from copperplate.adapters.redis.copies import require
from copperplate.adapters.redis.server import PATIENCE_SECONDS, SLOW_SECONDS, make_pool, run
from copperplate.errors import RedisUnavailable

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

SECONDS: Final = 5.0
PROBE_PREFIX: Final = "copperplate:doctor:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the server did, and what to do about it where that is not well."""

    detail: str
    advice: str | None


async def check_server(url: str) -> Health:
    """Write, read and remove a key that ends by itself; raises `RedisUnavailable`."""
    pool = make_pool(url, seconds=SECONDS, connections=1)
    loop = asyncio.get_running_loop()
    try:
        began = loop.time()
        await require(pool, [("PING",)])
        until_first = loop.time() - began
        name, value = f"{PROBE_PREFIX}{uuid4().hex}", uuid4().bytes
        answers, seconds = await require(
            pool, [("SET", name, value, "EX", 10), ("GETRANGE", name, 0, 100), ("TTL", name), ("UNLINK", name)]
        )
        if answers[1:] != [value, answers[2], 1] or not 0 < answers[2] <= 10:
            raise RedisUnavailable("Redis does not give back what it is given")
        return Health(
            detail=f"{await _version(pool)} answers in {seconds * 1000:.1f} ms; written, read and removed",
            advice=_advice(until_first, seconds) or await _advice_on_memory(pool),
        )
    finally:
        await pool.aclose()


def _advice(until_first: float, seconds: float) -> str | None:
    if until_first > PATIENCE_SECONDS:
        return (
            f"connecting takes {until_first:.1f} s, but nobody waits longer than {PATIENCE_SECONDS} s: use a nearer one"
        )
    if seconds > SLOW_SECONDS:
        return f"what takes more than {SLOW_SECONDS * 1000:.0f} ms counts as no answer: use a nearer one"
    return None


async def _version(pool: BlockingConnectionPool) -> str:
    found = await _info(pool, "server")
    name = "Valkey" if "valkey_version" in found else "Redis"
    version = found.get("valkey_version", found.get("redis_version", ""))
    return f"{name} {version}".strip()


async def _advice_on_memory(pool: BlockingConnectionPool) -> str | None:
    found = await _info(pool, "memory")
    if found.get("maxmemory", "0") != "0" and found.get("maxmemory_policy") == "noeviction":
        return (
            "full, it keeps nothing more until something ends: set its maxmemory-policy to allkeys-lru or volatile-lru"
        )
    return None


async def _info(pool: BlockingConnectionPool, section: str) -> dict[str, str]:
    """What the server says of itself; nothing where that is not for its user."""
    try:
        [answer], _ = await run(pool, [("INFO", section)])
    except (RedisError, OSError):
        return {}
    lines = answer.decode(errors="replace").splitlines() if isinstance(answer, bytes) else []
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}
