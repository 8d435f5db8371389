"""Bugs of tiers to plant, each one a line somebody might write or leave out: in the program, or in the feed's SQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.adapters.memory.clock import START
from copperplate.errors import CopperplateError
from copperplate.feed import Cursor
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.serving.renditions import Renditions
from copperplate.tiers import coherence, tiers
from copperplate.tiers.coherence import Coherence
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers
from tests.simulation.copies import FrozenClock, ProcessTier
from tests.simulation.feed import SimulatedFeed
from tests.simulation.ports import WatchedLedger

if TYPE_CHECKING:
    from copperplate.feed import FeedPage

_EVERYTHING: Final = Cursor(2**53, 2**53)
_read_page = SimulatedFeed.read
_find_in_tier = ProcessTier.find
_open_tiers = Tiers.__init__
_find = Renditions._find
_read = Renditions._read
_restore = SimulatedFeed.restore
_apply = Coherence._apply
_confirm = Tiers.confirm


def _tell_rows_above(self: SimulatedFeed, since: Cursor | None, database: str | None) -> FeedPage:
    page = _read_page(self, since, database)
    if since is None or not page.is_continued:
        return page
    return replace(page, invalidations=tuple(row for row in page.invalidations if row.transaction >= since.xmax))


def _tell_nobody_runs(self: SimulatedFeed, since: Cursor | None, database: str | None) -> FeedPage:
    page = _read_page(self, since, database)
    return replace(page, cursor=Cursor(page.cursor.xmax, page.cursor.xmax))


def _tell_all_is_known(self: SimulatedFeed, since: Cursor | None, database: str | None) -> FeedPage:
    return replace(_read_page(self, since, database), known_from=0)


def _continue_always(self: SimulatedFeed, since: Cursor | None, database: str | None) -> FeedPage:
    return replace(_read_page(self, since, database), is_continued=since is not None)


def _restore_and_keep_the_id(self: SimulatedFeed, act: Any) -> None:
    known = self.database
    _restore(self, act)
    self.database = known


async def _find_unjudged(self: ProcessTier, key: str, database: str) -> Any:
    copy = await _find_in_tier(self, key, database)
    return None if copy is None else replace(copy, cursor=_EVERYTHING, database=database)


async def _find_of_any_database(self: ProcessTier, key: str, database: str) -> Any:
    copy = await _find_in_tier(self, key, database)
    return None if copy is None else replace(copy, database=database)


def _open_for_ever(self: Tiers, feed: Any, clock: Any, **named: Any) -> None:
    _open_tiers(self, feed, clock, **{**named, "stale_for": timedelta(days=365)})


async def _find_with_own_fill(self: Renditions, *args: Any) -> Any:
    fill = self._tiers.begin_fill()
    return replace(await _find(self, *args), fill=fill, is_shared=False)


async def _read_and_begin_fill(self: Renditions, request: Any, found: Any, at_most_bytes: Any) -> Any:
    if found.tier is None:
        found = replace(found, fill=self._tiers.begin_fill())
    return await _read(self, request, found, at_most_bytes)


async def _apply_whatever_comes(self: Coherence, number: int, asked_at: Any) -> None:
    assert self._feed is not None
    try:
        page = await self._feed.read_feed(self._known.cursor, self._known.database or None)
    except CopperplateError:
        self._note_failure(number, is_broken=False)
    else:
        self._apply(page, asked_at)


def _apply_from_now_on(self: Coherence, page: FeedPage, _: Any) -> None:
    _apply(self, page, self._now())


async def _confirm_unseen(self: Tiers, found: Any) -> Any:
    return found if found.tier is not None else await _confirm(self, found)


async def _confirm_copies_alone(self: Tiers, found: Any) -> Any:
    return found if found.tier is None else await _confirm(self, found)


# What is planted where, by what it is.
BUGS_OF_COPIES: Final[dict[str, tuple[Any, str, Any]]] = {
    "the feed tells of higher transactions alone": (SimulatedFeed, "read", _tell_rows_above),
    "the feed's cursor includes what still runs": (SimulatedFeed, "read", _tell_nobody_runs),
    "a copy is right though its deletion still ran": (Cursor, "includes", lambda self, number: number < self.xmax),
    "a first read counts as all there is": (SimulatedFeed, "read", _tell_all_is_known),
    "a cursor that is too old is continued": (SimulatedFeed, "read", _continue_always),
    "a restore keeps the database's id": (SimulatedFeed, "restore", _restore_and_keep_the_id),
    "copies of another database are taken": (ProcessTier, "find", _find_of_any_database),
    "copies on disk and in Redis are not judged": (ProcessTier, "find", _find_unjudged),
    "memory keeps what was declared wrong": (MemoryTier, "drop_wrong", lambda *_: None),
    "a removed entry is not in the feed": (WatchedLedger, "_declare_wrong", lambda *_: None),
    "trust goes by the monotonic clock alone": (
        FrozenClock,
        "now",
        lambda self: START + timedelta(seconds=self.monotonic()),
    ),
    "trust goes by the wall clock alone": (
        FrozenClock,
        "monotonic",
        lambda self: (self.now() - START).total_seconds(),
    ),
    "trust lasts five seconds": (coherence, "TRUST_SECONDS", 5.0),
    "trust begins with the answer": (Coherence, "_apply", _apply_from_now_on),
    "an older page is applied after a newer one": (Coherence, "_read", _apply_whatever_comes),
    "what was in Redis is not judged again": (Tiers, "confirm", _confirm_unseen),
    "what the ledger had is not judged again": (Tiers, "confirm", _confirm_copies_alone),
    "stale has no end": (Tiers, "__init__", _open_for_ever),
    "who joins a flight fills with its own cursor": (Renditions, "_find", _find_with_own_fill),
    "a fill begins after its answer": (Renditions, "_read", _read_and_begin_fill),
    "private kinds are kept": (tiers, "KINDS", {**KINDS, PROCESSED.name: replace(PROCESSED, is_public=True)}),
}
