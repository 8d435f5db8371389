"""Whether copies may be trusted: the feed of invalidations, read beside traffic (ADR 0067, 0068)."""

from __future__ import annotations

import asyncio
import logging
import math
from contextvars import Context
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from copperplate.errors import CopperplateError, LedgerUnavailable
from copperplate.feed import Fill
from copperplate.tiers.known import KnownInvalidations
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from copperplate.feed import FeedPage, Tier
    from copperplate.ports import Clock, Feed
    from copperplate.ports.tiers import Copy

logger = logging.getLogger(__name__)

# What was declared wrong reaches every process within three seconds: after a read its copies are trusted for less.
TRUST_SECONDS: Final = 2.5
# While there is traffic the feed is read this often.
READ_SECONDS: Final = 1.0
# A request waits so long for a read that is overdue, once.
WAIT_SECONDS: Final = 0.3
# A process that did not run for so long stood still, or had no traffic: what it found before says nothing of now.
STANDSTILL_SECONDS: Final = 3.0
# While the ledger is away it is asked for so many seconds after the last request.
LINGER_SECONDS: Final = 10

AWAY: Final = "the database does not answer: copies in memory, on disk and in Redis are served for up to %.0f s"


class Trust(Enum):
    """What copies are good for at this moment."""

    FRESH = "fresh"  # none of them is wrong for longer than three seconds
    STALE = "stale"  # the ledger does not answer; they were right when it last did
    NONE = "none"


class _Moment(NamedTuple):
    """A moment by two clocks, of which one stands still in a frozen process, and the other may be set."""

    monotonic: float
    wall: datetime


def _seconds_between(then: _Moment, now: _Moment) -> float:
    """By the clock that says more. Where the wall clock was set back, nobody knows: as long as that."""
    return max(now.monotonic - then.monotonic, abs((now.wall - then.wall).total_seconds()))


_NEVER: Final = _Moment(-math.inf, datetime.min.replace(tzinfo=UTC))


class Coherence:
    """Reads the feed, and judges copies by it. A process has one.

    `on_page` is called with each page that was applied, after this knows of it.
    """

    def __init__(
        self,
        feed: Feed | None,
        clock: Clock,
        *,
        stale_for: timedelta,
        on_page: Callable[[FeedPage], None],
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._stale_seconds = stale_for.total_seconds()
        self._on_page = on_page
        self._wait_seconds = wait_seconds
        self._known = KnownInvalidations()
        # Of the newest read that was answered: when it was asked. Copies are trusted until then by both clocks.
        self._read_at, self._fresh_until, self._fresh_until_wall = _NEVER, -math.inf, _NEVER.wall
        # Reads are numbered as they are asked: an answer that comes after that of a later one is dropped.
        self._asked, self._applied, self._asked_at = 0, 0, _NEVER
        self._reading: asyncio.Task[None] | None = None
        self._overdue: asyncio.Task[None] | None = None
        self._rhythm: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_traffic = False
        self._is_closed = False
        # The last read failed; and not because the ledger did not answer.
        self._has_failed, self._is_broken = False, False
        # What was said of this outage: of a ledger that does not answer, and of a feed that cannot be read (True).
        self._said: set[bool] = set()
        # When this process last ran and looked at the clock.
        self._beat = _NEVER

    @property
    def database(self) -> str:
        """The id of the ledger that was read; empty before the first read."""
        return self._known.database

    @property
    def is_fresh(self) -> bool:
        """Whether the feed was read lately."""
        return self.is_fresh_at(self._clock.monotonic())

    def is_fresh_at(self, monotonic: float) -> bool:
        """The same, for who has asked the monotonic clock."""
        return monotonic <= self._fresh_until and self._read_at.wall <= self._clock.now() <= self._fresh_until_wall

    def is_stale_at(self, monotonic: float) -> bool:
        """Whether it is known that the ledger does not answer, and copies may be served all the same."""
        now = _Moment(monotonic, self._clock.now())
        return self._is_away_at(now) and self._may_be_stale_at(now)

    def begin_fill(self) -> Fill | None:
        """How far was read by now; None before the first read."""
        return None if self._known.cursor is None else Fill(self._known.cursor, self._known.database)

    def is_right(self, copy: Copy, tier: Tier) -> bool:
        """Whether no invalidation that was read makes this copy wrong, and all that could are known."""
        return self.is_fill_right(copy.entry.generation_key, Fill(copy.cursor, copy.database), tier)

    def is_fill_right(self, generation_key: str, fill: Fill, tier: Tier) -> bool:
        """The same, for what was found by `fill`."""
        return self._known.is_right(generation_key, fill, tier)

    def is_wrong(self, copy: Copy, tier: Tier) -> bool:
        """Whether an invalidation that was read makes this copy wrong, for every process that may find it."""
        return self._known.is_wrong(copy.entry.generation_key, Fill(copy.cursor, copy.database), tier)

    def is_named(self, generation_key: str, fill: Fill | None, tier: Tier) -> bool:
        """Whether an invalidation that was read makes this wrong; None: whenever it was found."""
        return self._known.is_named(generation_key, fill, tier)

    @property
    def past_trust_seconds(self) -> float:
        """How long it is since copies could be trusted last; below 0 while they can be."""
        return self._seconds_since(self._read_at) - TRUST_SECONDS

    def note_traffic(self) -> None:
        """A request came: the feed is read once a second while they do."""
        self._has_traffic = True
        if self._rhythm is None and self._feed is not None and not self._is_closed:
            self._rhythm = self._spawn(self._read_regularly())

    async def trust(self) -> Trust:
        """What copies are good for now. Where a read is overdue, this waits for it: at most 0.3 s.

        Once it is known that the ledger is away nobody waits, as long as requests come every three seconds.
        A process that has never read trusts nothing, and nobody waits: its first read goes on behind the request.
        """
        self.note_traffic()
        if self.is_fresh:
            return Trust.FRESH
        if self._known.cursor is None:
            return Trust.NONE
        if not self._is_away_at(self._now()) and not self._is_closed:
            if self._overdue is None:
                self._overdue = self._spawn(self._read_overdue())
            await asyncio.wait((self._overdue,))
            if self.is_fresh:
                return Trust.FRESH
        return Trust.STALE if self._may_be_stale_at(self._now()) else Trust.NONE

    async def close(self) -> None:
        """Read no more. What a request waits for ends at once."""
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_away_at(self, now: _Moment) -> bool:
        """Whether the ledger is known not to answer: it is asked meanwhile, and nobody waits for that."""
        return self._has_failed and _seconds_between(self._beat, now) <= STANDSTILL_SECONDS

    def _may_be_stale_at(self, now: _Moment) -> bool:
        return not self._is_broken and _seconds_between(self._read_at, now) <= self._stale_seconds

    def _now(self) -> _Moment:
        return _Moment(self._clock.monotonic(), self._clock.now())

    def _seconds_since(self, moment: _Moment) -> float:
        return _seconds_between(moment, self._now())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # In no request's context: no call waits for it, and none is logged with it.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _begin_read(self) -> asyncio.Task[None]:
        self._asked += 1
        self._asked_at = self._now()
        self._reading = self._spawn(self._read(self._asked, self._asked_at))
        return self._reading

    async def _read(self, number: int, asked_at: _Moment) -> None:
        assert self._feed is not None  # noqa: S101 - without a feed nothing is read
        since, database = self._known.cursor, self._known.database
        try:
            page = await self._feed.read_feed(since, database or None)
            is_of_before = page.is_continued and database != self._known.database
            if number > self._applied and not is_of_before:
                self._applied = number
                self._apply(page, asked_at)
        except LedgerUnavailable:
            self._note_failure(number, is_broken=False)
        except CopperplateError as error:
            self._note_failure(number, is_broken=True, reason=str(error))
        except Exception as error:  # noqa: BLE001 - copies are not trusted, and the next read may go well
            log_unexpected(error, "reading the feed")
            self._note_failure(number, is_broken=True)

    def _apply(self, page: FeedPage, asked_at: _Moment) -> None:
        self._known.apply(page)
        self._on_page(page)
        trusted = timedelta(seconds=TRUST_SECONDS)
        self._read_at = asked_at
        self._fresh_until, self._fresh_until_wall = asked_at.monotonic + TRUST_SECONDS, asked_at.wall + trusted
        if not self.is_fresh:
            # It took longer than it is good for, which does not end an outage.
            if self._rhythm is not None and not self._is_closed:
                self._begin_read()
        else:
            if self._said:
                logger.info("the database answers again")
            self._said.clear()
            self._has_failed = self._is_broken = False

    def _note_failure(self, number: int, *, is_broken: bool, reason: str = "an unexpected error") -> None:
        if number < self._applied:
            return  # a read that was asked later went well
        is_news = is_broken not in self._said
        if is_broken and is_news:
            logger.warning("the feed of invalidations cannot be read, and no tier is used: %s", reason)
        elif is_news and not self._has_failed:
            logger.warning(AWAY, self._stale_seconds)
        self._said.add(is_broken)
        self._has_failed, self._is_broken = True, is_broken

    async def _read_overdue(self) -> None:
        """A read that requests wait for. The ledger is away where it does not answer in time."""
        try:
            for _ in range(2):
                began = self._now()
                if not self._is_reading or self._seconds_since(self._asked_at) > READ_SECONDS:
                    self._begin_read()
                assert self._reading is not None  # noqa: S101 - it has just begun
                await asyncio.wait((self._reading,), timeout=self._wait_seconds)
                if self.is_fresh or self._seconds_since(began) <= 2 * self._wait_seconds:
                    break
                # This process stood still meanwhile, which says nothing of the ledger.
            if not self.is_fresh:
                self._beat = self._now()
                self._note_failure(self._asked, is_broken=self._is_broken)
        finally:
            self._overdue = None

    @property
    def _is_reading(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def _read_regularly(self) -> None:
        """Read once a second, until there is no traffic. While the ledger is away nobody else asks it."""
        quiet = 0
        try:
            while quiet < (LINGER_SECONDS if self._has_failed else 1):
                self._read_if_due()
                self._has_traffic = False
                await self._clock.sleep(READ_SECONDS)
                quiet = 0 if self._has_traffic else quiet + 1
        finally:
            self._rhythm = None

    def _read_if_due(self) -> None:
        stood_still = self._seconds_since(self._beat) > STANDSTILL_SECONDS
        self._beat = self._now()
        is_due = self._seconds_since(self._asked_at) >= READ_SECONDS
        if stood_still:
            self._has_failed = self._is_broken = False
        elif is_due and self._is_reading:
            # No request will have to wait to find that out.
            self._note_failure(self._asked, is_broken=self._is_broken)
        if is_due and (stood_still or not self._is_reading):
            self._begin_read()
