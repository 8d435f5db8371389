"""Copies as a tier keeps them."""

from __future__ import annotations

import hashlib

from copperplate.adapters.disk_tier import name_of
from copperplate.adapters.memory.clock import FakeClock
from copperplate.feed import Cursor
from copperplate.model import Entry, Placeholder
from copperplate.ports.tiers import Copy

DATABASE = "7d3f6a52-0000-4000-8000-000000000001"
CURSOR = Cursor(3, 7, frozenset({4}))
BODY = b"a picture" * 1_000


def key_of(name: str) -> str:
    """A key as a rendition has one."""
    return hashlib.sha256(name.encode()).hexdigest()


def file_of(name: str, database: str = DATABASE) -> str:
    """The name of that rendition's copy on disk."""
    return name_of(key_of(name), database)


def copy_of(name: str, body: bytes = BODY, *, database: str = DATABASE, cursor: Cursor = CURSOR) -> Copy:
    """A copy of an entry that has these bytes."""
    generation_key, digest = key_of(f"generation of {name}"), hashlib.sha256(body).hexdigest()
    entry = Entry(
        kind="image",
        key=key_of(name),
        generation_key=generation_key,
        path=f"2026/11/{digest}.png",
        digest=digest,
        size_bytes=len(body),
        format="png",
        width=64,
        height=32,
        is_original=False,
        placeholder=Placeholder(thumbhash=b"\x01\xff thumb", color="#0a0b0c"),
        encoder_version=3,
    )
    return Copy(entry=entry, cursor=cursor, database=database, body=body)


class JumpingClock(FakeClock):
    """A clock that may be moved in the middle of a call."""

    def jump(self, seconds: float) -> None:
        """Move time forward; nobody is woken."""
        self._seconds += seconds
