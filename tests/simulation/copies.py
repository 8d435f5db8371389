"""Tiers in a history: copies in memory, on disks that processes share, and in a Redis whose writes land late."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from copperplate.errors import StoreUnavailable
from copperplate.feed import Tier
from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.tiers import known
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers
from tests.simulation.clocks import ProcessClock
from tests.simulation.faults import PAUSES, Fault
from tests.simulation.feed import SimulatedFeed
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from copperplate.model import PictureRequest
    from copperplate.ports.tiers import Copy, HotCopy, TierFigures
    from tests.simulation.world import Process, World

# What was declared wrong is nowhere a hit for longer.
PROMISED_SECONDS: Final = 3.0
# A stale answer from memory may have waited for one read of the feed.
WAIT_SECONDS: Final = 0.35
# After the trouble the ledger counts as away for so long, and is then asked again.
RECOVERY_SECONDS: Final = 30.0
# Of what each process remembers of the feed: few enough that they are forgotten.
MAX_KNOWN: Final = 5
# Of what people delete just when a process cannot know.
MAX_DELETIONS: Final = 8
COPIES: Final = frozenset({Tier.MEMORY, Tier.DISK, Tier.REDIS})
_CAT: Final = picture_request("a cat")
WANTED_FIRST: Final = picture_request("a fox")
PRIVATE_WANT: Final = replace(_CAT, kind=PROCESSED.name, recipe={**_CAT.recipe, "source": "0" * 64})


def has_copies(seed: int) -> bool:
    """Whether a history has tiers; in a part of those the owner takes pictures down, too."""
    return seed % 16 == 3 or is_with_takedowns(seed)


def is_with_takedowns(seed: int) -> bool:
    """Whether a history has tiers and takedowns."""
    return seed % 64 == 14


@dataclass(slots=True)
class Shelf:
    """What a disk or a Redis holds, whoever asks."""

    tier: Tier
    copies: dict[str, Copy] = field(default_factory=dict)


class Copies:
    """The tiers of all processes, and what an onlooker knows of what they may answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Of its own, so that it changes nothing of the story but by what it does.
        self._random = random.Random(f"what is kept in {world.seed}")
        self.feed = SimulatedFeed(world.ledger, self._random, world.loop.time)
        self._stale_seconds = self._random.choice((0.0, 10.0, 40.0))
        self._redis = Shelf(Tier.REDIS)
        self._disks = [Shelf(Tier.DISK), Shelf(Tier.DISK)]
        self._standing: set[str] = set()
        # When the entry with that path was declared wrong: when that was committed.
        self._gone_at: dict[str, float] = {}
        self._deletions = 0
        self._wanted = WANTED_FIRST
        self.hits = 0
        self.stale = 0

    def draw_focus(self) -> str:
        """The call that fails much more often."""
        return self._random.choice(
            ("read_feed", "read_feed", "acquire", "get", "find on disk", "keep in redis", "keep in redis", "peek")
        )

    def draw_kinds(self, kinds: tuple[Fault, ...]) -> tuple[Fault, ...]:
        """What may go wrong: one history in four has late answers alone."""
        return (*kinds, Fault.SLOW_ANSWER) if self._random.random() < 0.75 else (Fault.SLOW_ANSWER,)

    def draw_want(self) -> PictureRequest:
        """Mostly what was asked for last."""
        if self._random.random() < 0.4:
            self._wanted = self._random.choice(self._world.picture_requests)
        return self._wanted

    def draw_pause(self) -> float:
        """Between two requests of a process."""
        return self._random.choice((0.0, 0.05, 0.3, 1.0, 1.0, 2.0, 6.0))

    def make_tiers(self, process: Process, feed: Any) -> Tiers:
        """Those of a process: it shares its disk with others of its machine."""
        process.standing_clock = self._random.choice(("", "monotonic", "wall"))
        clock = FrozenClock(self._world, process)
        memory = MemoryTier(clock, max_pictures=3, max_bytes=1_000_000, max_age_seconds=20)
        disk = ProcessTier(self._world, process, self._random.choice(self._disks), give_up=1.0)
        redis = ProcessTier(self._world, process, self._redis, give_up=0.3)
        shared = self._random.choice(((disk, redis), (disk,), (redis,), ()))
        stale_for = timedelta(seconds=self._stale_seconds)
        return Tiers(
            feed, clock, stale_for=stale_for, memory=self._random.choice((memory, memory, None)), shared=shared
        )

    def find_hot(self, process: Process, asked: PictureRequest) -> LookupResult | None:
        """What a process answers before anything else, where somebody knows the address."""
        assert process.tiers is not None
        if self._random.random() < 0.5:
            return None
        outcome = Outcome.HIT
        if (item := process.tiers.find_hot(asked.rendition_key)) is None:
            item, outcome = process.tiers.find_hot_stale(asked.rendition_key), Outcome.STALE
        if item is None:
            return None
        return LookupResult(entry=item.copy.entry, outcome=outcome, body=item.copy.body, tier=Tier.MEMORY)

    # --- people and machines ----------------------------------------------------------------------

    async def play(self) -> None:
        """People delete pictures, some in transactions that take long; now and then an old ledger is restored."""
        restores_at = self._random.choice((None, None, self._random.randint(1, 7)))
        for number in range(8):
            await asyncio.sleep(self._random.uniform(0, 20))
            asked = self._random.choice(self._world.picture_requests)
            if number == restores_at:
                self._restore()
            elif self._random.random() < 0.5:
                self._world.begin(None, self._delete_late(asked))
            else:
                self._delete_from_redis(asked)
                self._world.declare_wrong(asked)

    def sees(self, process: Process, name: str, fault: Fault) -> None:
        """A process is about to know nothing for a while, or learns late: now and then something is deleted then."""
        is_blind = fault in PAUSES or self._world.loop.time() < process.cut_off_until
        is_late = fault is Fault.SLOW_ANSWER and name in ("acquire", "peek", "complete", "get")
        if (is_blind or is_late) and self._deletions < MAX_DELETIONS and self._random.random() < 0.7:
            self._deletions += 1
            self._world.begin(None, self._delete_soon())

    async def _delete_soon(self) -> None:
        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.3, 1.0, 3.0)))
        for asked in self._random.choice(([self._wanted], self._world.picture_requests)):
            self._world.declare_wrong(asked)

    async def _delete_late(self, asked: PictureRequest) -> None:
        transaction = self.feed.begin()
        self._world.note(f"transaction {transaction} begins")
        await asyncio.sleep(self._random.choice((0.5, 3.0, 15.0, 60.0)))
        if self.feed.is_running(transaction):
            self._world.note(f"transaction {transaction} commits")
            self.feed.commit(transaction, lambda: self._world.declare_wrong(asked))

    def _delete_from_redis(self, asked: PictureRequest) -> None:
        """What a purge does beside: what is under way to Redis lands all the same."""
        self._redis.copies.pop(asked.rendition_key, None)

    def _restore(self) -> None:
        self._world.note("an older ledger is restored")
        gone = [asked for asked in self._world.picture_requests if self._random.random() < 0.7]

        def lose() -> None:
            for asked in gone:
                self._world.declare_wrong(asked)

        self.feed.restore(lose)

    # --- what must hold ---------------------------------------------------------------------------

    def check(self) -> None:
        """After every call on the ledger: which entries stand no more?"""
        standing = {kept.entry.path for kept in self._world.ledger._entries.values()}
        now = self._world.loop.time()
        self._gone_at |= dict.fromkeys(self._standing - standing, now)
        self._standing = standing

    def keeps(self, copy: Copy) -> None:
        """Something is written to disk or Redis."""
        self._world.oracle.check(KINDS[copy.entry.kind].is_public, "a private picture is kept in a tier")

    def answers(self, process: Process, found: LookupResult, seconds: float, *, began_at: float) -> None:
        """A caller is answered after so long, without what its process was frozen."""
        if found.tier not in COPIES:
            self._finds(process, found, began_at)
            return
        oracle, now = self._world.oracle, self._world.loop.time()
        oracle.check(KINDS[found.entry.kind].is_public, "a private picture is answered from a tier")
        gone_at = self._gone_at.get(found.entry.path, math.inf)
        if found.outcome is Outcome.HIT:
            self.hits += 1
            late = now - gone_at
            oracle.check(late <= PROMISED_SECONDS, f"a copy in {found.tier} is a hit {late:.1f} s after it was wrong")
            return
        self.stale += 1
        oracle.check(found.outcome is Outcome.STALE, f"an answer from {found.tier} is {found.outcome}")
        age = now - process.read_at
        oracle.check(age <= 1.04 * self._stale_seconds, f"stale {age:.1f} s after the last read")
        oracle.check(process.read_at <= gone_at, "a copy is stale that was known to be wrong")
        oracle.check(seconds <= WAIT_SECONDS or found.tier is not Tier.MEMORY, f"stale after {seconds:.1f} s")
        healed_for = now - self._world.healed_at
        oracle.check(healed_for <= RECOVERY_SECONDS, "stale though the ledger answers")

    def _finds(self, process: Process, found: LookupResult, began_at: float) -> None:
        """A caller has what the ledger had, perhaps since another one asked for it."""
        if process.tiers is None or process.tiers.is_off or not found.is_found:
            return
        gone_at, now = self._gone_at.get(found.entry.path, math.inf), self._world.loop.time()
        is_known_wrong = gone_at < min(began_at, process.read_at)
        self._world.oracle.check(not is_known_wrong, f"a hit {now - gone_at:.1f} s after it was known to be wrong")


class FrozenClock(ProcessClock):
    """A clock of which a part may stand still while its process is frozen. The other part tells how long that was."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(world)
        self._process = process

    def now(self) -> datetime:
        is_behind = self._process.standing_clock == "wall"
        return super().now() - timedelta(seconds=self._process.clock_lag if is_behind else 0.0)

    def monotonic(self) -> float:
        is_behind = self._process.standing_clock == "monotonic"
        return super().monotonic() - (self._process.clock_lag * self._rate if is_behind else 0.0)


class ProcessTier:
    """A disk or a Redis as a process uses it: nothing raises, and what was given up may land later."""

    def __init__(self, world: World, process: Process, shelf: Shelf, *, give_up: float) -> None:
        self._world = world
        self._process = process
        self._shelf = shelf
        self._give_up = give_up
        self.tier = shelf.tier

    async def find(self, key: str, database: str) -> Copy | None:
        """Whatever is there, of whatever database: what is right is the caller's to judge."""
        return await self._call("find on" if self.tier is Tier.DISK else "find in", lambda: self._shelf.copies.get(key))

    def find_quickly(self, key: str, database: str) -> tuple[HotCopy, bytes] | None:
        """Nothing: whatever is there is waited for."""
        return None

    async def keep(self, copy: Copy, request: PictureRequest) -> None:
        """See `CopyTier.keep`."""
        assert self._world.copies is not None
        self._world.copies.keeps(copy)
        kept = copy if self.tier is Tier.DISK else replace(copy, body=None)
        await self._call("keep on" if self.tier is Tier.DISK else "keep in", lambda: self._put(kept))

    async def drop(self, key: str) -> None:
        """See `CopyTier.drop`."""
        await self._call("drop from", lambda: self._shelf.copies.pop(key, None) and None)

    async def remove_wrong(self, database: str, is_right: Callable[[Copy], bool]) -> bool:
        """Nothing: a wrong copy stays for somebody to find, which is what is played."""
        return True

    async def figures(self) -> TierFigures | None:
        return None

    async def close(self) -> None:
        """Nothing is held open."""

    def _put(self, copy: Copy) -> None:
        self._shelf.copies[copy.entry.key] = copy

    async def _call(self, name: str, act: Callable[[], Copy | None]) -> Copy | None:
        async def acted() -> Copy | None:
            return act()

        with contextlib.suppress(StoreUnavailable):
            found: Copy | None = await self._world.call(
                self._process,
                f"{name} {self.tier}",
                acted,
                typical=0.001,
                unavailable=StoreUnavailable("lost"),
                give_up=self._give_up,
            )
            return found
        return None


@contextlib.contextmanager
def few_known(seed: int) -> Iterator[None]:
    """In some histories processes remember few rows of the feed."""
    with patch.object(known, "MAX_KNOWN", MAX_KNOWN if seed & 64 else known.MAX_KNOWN):
        yield
