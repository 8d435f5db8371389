"""The part of the ledger in memory that keeps batches: many wishes at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.generation_states import MemoryGenerationStates
from copperplate.errors import Unauthorized
from copperplate.ports.statistics import WarmingStats
from copperplate.recipes.kinds import KINDS
from copperplate.wishes import Batch, Canceled, Member, Purpose, State, WishStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from copperplate.adapters.memory.wishes import WishRow
    from copperplate.ports import Clock
    from copperplate.wishes import NewBatch, Settlement, Wish


@dataclass(slots=True, eq=False)
class _BatchRow:
    """One row of `copperplate.batches`."""

    asked: NewBatch
    created_at: datetime
    estimate_micro_usd: int | None
    canceled_at: datetime | None = None


class MemoryBatches(MemoryGenerationStates):
    """`Wishes` over the tables in memory: batches, on top of single wishes and the states of generations."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._wish_batches: dict[UUID, _BatchRow] = {}

    async def create_batch(self, batch: NewBatch, *, held_for: timedelta = timedelta(0)) -> UUID | None:
        """See `Wishes.create_batch`."""
        if (known := self._repeated(batch)) is not None:
            return known if self._wish_batches[known].asked.digest == batch.digest else None
        stored = await self.stored_keys({wish.generation_key for wish in batch.wishes})
        prices = [
            None if wish.spending is None else wish.spending.amount_micro_usd
            for wish in batch.wishes
            if wish.generation_key not in stored
        ]
        known_prices = [price for price in prices if price is not None]
        estimate = sum(known_prices) if len(known_prices) == len(prices) else None
        self._check_open_wishes(batch.owner, more=len(prices))
        name = uuid4()
        self._wish_batches[name] = _BatchRow(batch, self._clock.now(), estimate)
        for position, wish in enumerate(batch.wishes):
            row = self._add_wish(wish, batch=name, position=position)
            row.held_until = self._clock.monotonic() + held_for.total_seconds()
            row.cached = wish.generation_key in stored
            row.status = WishStatus.COMPLETED if row.cached else WishStatus.OPEN
        return name

    async def find_batch(self, batch: UUID) -> Batch | None:
        """See `Wishes.find_batch`."""
        row = self._wish_batches.get(batch)
        if row is None:
            return None
        members = self._members_of(batch)
        states = Counter(map(self._member_state, members))
        return Batch(
            id=batch,
            owner=row.asked.owner,
            purpose=row.asked.purpose,
            thread_id=row.asked.thread_id,
            created_at=row.created_at,
            canceled_at=row.canceled_at,
            counts={state: states[state] for state in State},
            cached=sum(member.cached for member in members),
            estimate_micro_usd=row.estimate_micro_usd,
            is_private=any(KINDS[str(wish.recipe["kind"])].is_private for wish in row.asked.wishes),
            is_led=any(member.is_open and self._is_in_flight(member) for member in members),
        )

    async def batch_members(self, batch: UUID, *, after: int = -1, limit: int = 100) -> Sequence[Member]:
        """See `Wishes.batch_members`."""
        rows = [row for row in self._members_of(batch) if row.position > after]
        return [self._member(row) for row in rows[:limit]]

    async def cancel_batch(self, batch: UUID) -> Canceled | None:
        """See `Wishes.cancel_batch`."""
        row = self._wish_batches.get(batch)
        if row is None:
            return None
        unfinished = [member for member in self._members_of(batch) if not self._member_state(member).is_final]
        if unfinished:
            row.canceled_at = row.canceled_at or self._clock.now()
        withdrawn = [row for row in unfinished if not self._is_in_flight(row) and not self._is_submitted(row.key)]
        for member in withdrawn:
            member.status = WishStatus.CANCELED
        # Looked at once all of them are withdrawn: what is open then, somebody else has asked for.
        saved = [row.asked.spending for row in withdrawn if not any(self._open_wishes(row.key))]
        return Canceled(
            withdrawn=len(withdrawn),
            under_way=len(unfinished) - len(withdrawn),
            saved_micro_usd=sum(spending.amount_micro_usd for spending in saved if spending is not None),
        )

    async def take_wishes(self, *, in_flight: int, held_for: timedelta, limit: int | None = None) -> Sequence[Wish]:
        """See `Wishes.take_wishes`: what was held when its batch was canceled is withdrawn."""
        for row in list(self._due_wishes()):
            self._withdraw_canceled(row)
            if row.is_open and self._is_key_over(row.asked.owner) and not self._is_paid(row):
                row.status, row.code = WishStatus.FAILED, Unauthorized.code
        return await super().take_wishes(in_flight=in_flight, held_for=held_for, limit=limit)

    async def settle_wish(self, wish: int, settlement: Settlement) -> bool:
        """See `Wishes.settle_wish`."""
        is_settled = await super().settle_wish(wish, settlement)
        if is_settled and self._wishes[wish].is_open:
            self._withdraw_canceled(self._wishes[wish])
        return is_settled

    async def warming_stats(self) -> WarmingStats:
        """See `Statistics.warming_stats`."""
        # Of two wishes for one generation the first one had it made.
        warmed = {
            row.key: row
            for row in reversed(self._wishes.values())
            if row.batch is not None
            and self._wish_batches[row.batch].asked.purpose is Purpose.WARM
            and row.status is WishStatus.COMPLETED
            and not row.cached
        }
        uses = {row: self._saved_since(row) for row in warmed.values()}
        prices = {row: 0 if row.asked.spending is None else row.asked.spending.amount_micro_usd for row in uses}
        return WarmingStats(
            pictures=len(uses),
            asked_for=sum(number > 0 for number in uses.values()),
            requests=sum(uses.values()),
            estimated_micro_usd=sum(prices.values()),
            unused_micro_usd=sum(price for row, price in prices.items() if not uses[row]),
        )

    def _saved_since(self, row: WishRow) -> int:
        return sum(
            submit.saved for submit in self._submits if submit.generation_key == row.key and submit.sent >= row.created
        )

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`: their batches go with them."""
        owner = f"user:{user}"
        self._wish_batches = {name: row for name, row in self._wish_batches.items() if row.asked.owner != owner}
        return await super().forget_user(user)

    def _repeated(self, batch: NewBatch) -> UUID | None:
        """The batch of a day at most that its owner named by the same idempotency key."""
        since = self._clock.now() - timedelta(seconds=DAY_SECONDS)
        for name, row in self._wish_batches.items():
            is_alike = (row.asked.owner, row.asked.idempotency_key) == (batch.owner, batch.idempotency_key)
            if batch.idempotency_key is not None and is_alike and row.created_at > since:
                return name
        return None

    def _withdraw_canceled(self, row: WishRow) -> None:
        is_canceled = row.batch is not None and self._wish_batches[row.batch].canceled_at is not None
        if is_canceled and not self._is_paid(row):
            row.status = WishStatus.CANCELED

    def _is_paid(self, row: WishRow) -> bool:
        return self._member_state(row).is_final or self._is_submitted(row.key)

    def _members_of(self, batch: UUID) -> list[WishRow]:
        # Rows are as they were added: by position.
        return [row for row in self._wishes.values() if row.batch == batch]

    def _member_state(self, row: WishRow) -> State:
        if not row.is_open:
            return State(row.status)
        return self._state_of(row.key, is_awaited=True) or State.PENDING

    def _failure_of(self, row: WishRow) -> str | None:
        failure = self._generations[row.key].failure_class
        return None if failure is None else failure.value

    def _member(self, row: WishRow) -> Member:
        state = self._member_state(row)
        return Member(
            wish=row.id,
            position=row.position,
            generation_key=row.key,
            kind=_kind_of(row),
            state=state,
            cached=row.cached,
            code=self._failure_of(row) if row.is_open and state is State.FAILED else row.code,
            paths=row.asked.paths,
            echo=row.asked.echo,
        )


def _kind_of(row: WishRow) -> str:
    return str(row.asked.recipe["kind"])
