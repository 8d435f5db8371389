"""The tiers of a process, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.compose.installed import check_installed
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers

if TYPE_CHECKING:
    from copperplate.ports import Clock, Feed
    from copperplate.ports.tiers import CopyTier
    from copperplate.settings import Settings


def make_tiers(settings: Settings, feed: Feed, clock: Clock) -> Tiers:
    """Those that are on; opened when they are first used."""
    memory = None
    if settings.memory_pictures and settings.memory_bytes:
        memory = MemoryTier(
            clock,
            max_pictures=settings.memory_pictures,
            max_bytes=settings.memory_bytes,
            max_age_seconds=settings.memory_age.total_seconds(),
        )
    shared = [*_make_disk(settings, clock), *_make_redis(settings, clock)]
    return Tiers(feed, clock, stale_for=settings.stale, memory=memory, shared=shared)


def _make_disk(settings: Settings, clock: Clock) -> list[CopyTier]:
    """The tier on disk, where it is on; loaded only then."""
    if not settings.has_disk_cache:
        return []
    from copperplate.adapters.disk_tier import DiskTier

    return [DiskTier(clock, settings.disk_cache_parent, settings.disk_cache_bytes)]


def _make_redis(settings: Settings, clock: Clock) -> list[CopyTier]:
    """The tier in Redis, where there is one; its library is loaded only then."""
    if settings.redis_url is None or not settings.redis_age:
        return []
    check_installed("redis", "redis")
    from copperplate.adapters.redis.server import Server
    from copperplate.adapters.redis_tier import RedisTier

    server = Server(settings.redis_url, clock)
    return [RedisTier(server, lifetime=settings.redis_age, has_prompts=settings.redis_prompts)]
