"""The tiers of a process, as the settings have them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from copperplate.compose.installed import check_installed
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from copperplate.adapters.redis.copies import RedisCopies
    from copperplate.ports import Clock, Feed
    from copperplate.ports.tiers import CopyTier
    from copperplate.settings import Settings


def make_tiers(
    settings: Settings, feed: Feed, clock: Clock, *, note_cdn_purges: Callable[[frozenset[str]], None] = lambda _: None
) -> Tiers:
    """Those that are on; opened when they are first used. What the feed says of CDN purges is passed on."""
    memory = None
    if settings.memory_pictures and settings.memory_bytes:
        memory = MemoryTier(
            clock,
            max_pictures=settings.memory_pictures,
            max_bytes=settings.memory_bytes,
            max_age_seconds=settings.memory_age.total_seconds(),
        )
    shared = [*_make_disk(settings, clock), *_make_redis(settings, clock)]
    return Tiers(feed, clock, stale_for=settings.stale, memory=memory, shared=shared, note_cdn_purges=note_cdn_purges)


def _make_disk(settings: Settings, clock: Clock) -> list[CopyTier]:
    """The tier on disk, where it is on; loaded only then."""
    if not settings.has_disk_cache:
        return []
    from copperplate.adapters.disk_tier import DiskTier

    return [DiskTier(clock, settings.disk_cache_parent, settings.disk_cache_bytes)]


@contextlib.asynccontextmanager
async def open_redis_copies(settings: Settings, feed: Feed) -> AsyncIterator[RedisCopies | None]:
    """What Redis has of this database's pictures, to be counted and removed; None where it is not set."""
    if settings.redis_url is None:
        yield None
        return
    check_installed("redis", "redis")
    from copperplate.adapters.redis.copies import RedisCopies

    database = (await feed.read_feed(None, None)).database
    async with RedisCopies(settings.redis_url, database=database) as copies:
        yield copies


def _make_redis(settings: Settings, clock: Clock) -> list[CopyTier]:
    """The tier in Redis, where there is one; its library is loaded only then."""
    if settings.redis_url is None or not settings.redis_age:
        return []
    check_installed("redis", "redis")
    from copperplate.adapters.redis.server import Server
    from copperplate.adapters.redis_tier import RedisTier

    server = Server(settings.redis_url, clock)
    return [RedisTier(server, lifetime=settings.redis_age, has_prompts=settings.redis_prompts)]
