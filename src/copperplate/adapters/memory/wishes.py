"""The part of the ledger in memory that keeps wishes: one row each, taken, held and settled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.entries import MemoryEntries
from copperplate.denials import SpendingRefused, TooManyOpenWishes
from copperplate.recipes.objects import original_key
from copperplate.wishes import MAX_OPEN_WISHES, Wish, WishStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta
    from uuid import UUID

    from copperplate.ports import Clock
    from copperplate.wishes import NewWish, Settlement

ABANDONED = "abandoned"
# The owner of the service, as budgets name payers.
_SERVICE = "owner"


@dataclass(slots=True, eq=False)
class WishRow:
    """One row of `copperplate.wishes`; times are seconds of the clock. `position` is that of a batch's member."""

    id: int
    asked: NewWish
    created: float
    due_at: float
    held_until: float = 0.0
    tries: int = 0
    status: WishStatus = WishStatus.OPEN
    code: str | None = None
    batch: UUID | None = None
    position: int = 0
    cached: bool = False

    @property
    def key(self) -> str:
        """The generation's."""
        return self.asked.generation_key

    @property
    def is_open(self) -> bool:
        """Whether it waits for its picture."""
        return self.status is WishStatus.OPEN

    @property
    def urgency(self) -> tuple[int, int]:
        """The smallest first."""
        return (self.asked.priority, self.id)

    def taken(self) -> Wish:
        """What its taker is told."""
        return Wish(
            id=self.id,
            generation_key=self.key,
            recipe=self.asked.recipe,
            owner=self.asked.owner,
            spending=self.asked.spending,
            charge=self.asked.charge,
            tries=self.tries,
            paths=self.asked.paths,
        )


class MemoryWishes(MemoryEntries):
    """Single wishes over a dictionary by id. Every method runs without yielding, so it is atomic."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._wishes: dict[int, WishRow] = {}
        self._wish_ids = itertools.count(1)

    async def make_wish(self, wish: NewWish, *, held_for: timedelta) -> int:
        """See `Wishes.make_wish`."""
        alike = (row for row in self._open_wishes(wish.generation_key) if row.batch is None)
        row = next((row for row in alike if row.asked.owner == wish.owner), None)
        if row is None:
            self._check_open_wishes(wish.owner, more=1)
            row = self._add_wish(wish)
        now = self._clock.monotonic()
        row.created = row.due_at = now
        row.held_until = max(row.held_until, now + held_for.total_seconds())
        row.asked = replace(row.asked, priority=min(row.asked.priority, wish.priority))
        return row.id

    async def take_wishes(self, *, in_flight: int, held_for: timedelta, limit: int | None = None) -> Sequence[Wish]:
        """See `Wishes.take_wishes`."""
        self._abandon_old_wishes()
        # Two wishes for one generation are one picture at the provider.
        under_way = len({row.key for row in self._open_wishes() if row.tries and self._is_in_flight(row)})
        room = in_flight - under_way if limit is None else min(in_flight - under_way, limit)
        taken = sorted(self._due_wishes(), key=self._turn)[: max(0, room)]
        for row in taken:
            row.held_until = self._clock.monotonic() + held_for.total_seconds()
            row.tries += 1
        return [row.taken() for row in taken]

    async def settle_wish(self, wish: int, settlement: Settlement) -> bool:
        """See `Wishes.settle_wish`."""
        row = self._wishes.get(wish)
        if row is None or not row.is_open:
            return False
        now = self._clock.monotonic()
        row.status, row.code, row.held_until = settlement.status, settlement.code, now
        row.due_at = now + settlement.retry_after.total_seconds()
        if not row.is_open:
            self._hints.announce(row.key if row.batch is None else str(row.batch))
        return True

    async def is_work_due(self) -> bool:
        """See `Wishes.is_work_due`."""
        return next(self._due_wishes(), None) is not None

    async def pending_prompts(self, limit: int) -> Sequence[tuple[str, str]]:
        """See `Wishes.pending_prompts`."""
        rows = sorted(self._open_wishes(), key=lambda row: row.urgency)[:limit]
        return [(row.key, str(row.asked.recipe.get("prompt") or row.asked.recipe["kind"])) for row in rows]

    async def is_requested_by(self, user: UUID, generation_key: str) -> bool:
        """See `CreditLedger.is_requested_by`."""
        asked = ((row.asked.owner, row.key) for row in self._wishes.values())
        return (f"user:{user}", generation_key) in asked or await super().is_requested_by(user, generation_key)

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`: what they wished for goes with them."""
        owner = f"user:{user}"
        self._wishes = {wish: row for wish, row in self._wishes.items() if row.asked.owner != owner}
        return await super().forget_user(user)

    # --- rows -------------------------------------------------------------------------------------

    def _add_wish(self, wish: NewWish, *, batch: UUID | None = None, position: int = 0) -> WishRow:
        now = self._clock.monotonic()
        row = WishRow(next(self._wish_ids), wish, now, now, batch=batch, position=position)
        # A token of theirs may still be good; nothing is made for them.
        if wish.owner in self._forgotten:
            row.status, row.code = WishStatus.FAILED, SpendingRefused.code
        self._wishes[row.id] = row
        return row

    def _check_open_wishes(self, owner: str, *, more: int) -> None:
        number = sum(row.asked.owner == owner for row in self._open_wishes()) + more
        if owner != _SERVICE and number > MAX_OPEN_WISHES:
            raise TooManyOpenWishes

    def _open_wishes(self, key: str | None = None) -> Iterator[WishRow]:
        return (row for row in self._wishes.values() if row.is_open and key in (None, row.key))

    def _due_wishes(self) -> Iterator[WishRow]:
        now = self._clock.monotonic()
        return (row for row in self._open_wishes() if row.due_at <= now and not self._is_in_flight(row))

    def _is_stored(self, key: str) -> bool:
        return original_key(key) in self._entries

    def _turn(self, row: WishRow) -> tuple[object, ...]:
        """Where it stands among those that are due: what lost its leader once it was paid comes first."""
        is_paid = row.held_until > 0 and self._is_submitted(row.key)
        return (row.asked.priority, not is_paid, row.batch is not None, max(row.due_at, row.held_until), row.id)

    def _is_in_flight(self, row: WishRow) -> bool:
        return row.held_until > self._clock.monotonic() or self._is_led(row.key)

    def _abandon_old_wishes(self) -> None:
        horizon = self._clock.monotonic() - DAY_SECONDS
        for row in self._open_wishes():
            if row.created <= horizon and not self._is_in_flight(row):
                is_made = self._is_stored(row.key)
                row.status = WishStatus.COMPLETED if is_made else WishStatus.FAILED
                row.code = None if is_made else ABANDONED
