"""The tiers of a process, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers

if TYPE_CHECKING:
    from copperplate.ports import Clock, Feed
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
    return Tiers(feed, clock, stale_for=settings.stale, memory=memory)
