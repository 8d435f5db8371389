"""Copies of entries for tests of the tier in Redis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.redis.server import Server
from copperplate.adapters.redis_tier import RedisTier
from copperplate.adapters.system_clock import SystemClock
from copperplate.feed import Cursor
from copperplate.ports.tiers import Copy
from tests.support.pictures import PLACEHOLDER, picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from copperplate.ports import Clock

DATABASE = "0b51f0a2-7d0e-4a34-9d2c-2f4f5f4a8a10/7400000000000000000/1"
LIFETIME = timedelta(hours=2)


def copy_of(request: PictureRequest, *, database: str = DATABASE, cursor: str = "7:9:8") -> Copy:
    """A copy of the rendition requested, with all that an entry may have."""
    key = request.generation_key
    original = upload("original").as_entry(kind=request.kind, key="0" * 64, generation_key=key, is_original=True)
    entry = replace(rendition(request, f"rendition {key}").beside(original), placeholder=PLACEHOLDER)
    return Copy(entry=entry, cursor=Cursor.parse(cursor), database=database)


def copies(count: int) -> list[tuple[PictureRequest, Copy]]:
    """Requests and copies, each of a picture of its own."""
    requests = [picture_request(f"picture {number}") for number in range(count)]
    return [(request, copy_of(request)) for request in requests]


def redis_tier(
    url: str,
    clock: Clock | None = None,
    *,
    patience_seconds: float = 10.0,
    slow_seconds: float = 10.0,
    pause_seconds: float = 0.05,
    has_prompts: bool = False,
) -> RedisTier:
    """A tier that is patient, unless it is told otherwise; the caller closes it."""
    server = Server(
        url,
        clock or SystemClock(),
        patience_seconds=patience_seconds,
        slow_seconds=slow_seconds,
        pause_seconds=pause_seconds,
    )
    return RedisTier(server, lifetime=LIFETIME, has_prompts=has_prompts)
