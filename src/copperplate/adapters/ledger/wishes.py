"""Wishes and batches, and what callers are told of generations."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from copperplate.adapters.ledger.transport import Calls, Json
from copperplate.adapters.ledger.wish_rows import batch_of, canceled_of, member_of, state_of, wish_of, wish_row

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from copperplate.wishes import Batch, Canceled, GenerationState, Member, NewBatch, NewWish, Settlement, Wish


class WishCalls(Calls):
    """`Wishes`."""

    async def make_wish(self, wish: NewWish, *, held_for: timedelta) -> int:
        """See `Wishes.make_wish`."""
        arguments = {"p_wish": Json(wish_row(wish)), "p_held_for": held_for}
        return await self._transport.value("make_wish", arguments, int)

    async def take_wishes(self, *, in_flight: int, held_for: timedelta, limit: int | None = None) -> Sequence[Wish]:
        """See `Wishes.take_wishes`."""
        arguments = {"p_in_flight": in_flight, "p_held_for": held_for, "p_limit": limit}
        return [wish_of(row) for row in await self._transport.value("take_wishes", arguments, list)]

    async def settle_wish(self, wish: int, settlement: Settlement) -> bool:
        """See `Wishes.settle_wish`."""
        arguments = {
            "p_wish": wish,
            "p_status": settlement.status.value,
            "p_code": settlement.code,
            "p_retry_after": settlement.retry_after,
        }
        return await self._transport.value("settle_wish", arguments, bool)

    async def is_work_due(self) -> bool:
        """See `Wishes.is_work_due`."""
        return await self._transport.value("is_work_due", {}, bool)

    async def pending_prompts(self, limit: int) -> Sequence[tuple[str, str]]:
        """See `Wishes.pending_prompts`."""
        rows = await self._transport.rows("get_pending_prompts", {"p_limit": min(limit, self._transport.max_rows)})
        return [(row["generation_key"], row["prompt"]) for row in rows]

    async def create_batch(self, batch: NewBatch, *, held_for: timedelta = timedelta(0)) -> UUID | None:
        """See `Wishes.create_batch`."""
        row = {
            # Made here: a call that is repeated, since its answer was lost, makes no second batch.
            "id": str(uuid4()),
            "owner": batch.owner,
            "purpose": batch.purpose.value,
            "thread_id": batch.thread_id,
            "idempotency_key": batch.idempotency_key,
            "digest": batch.digest,
            "wishes": [wish_row(wish) for wish in batch.wishes],
        }
        made = await self._transport.value("create_batch", {"p_batch": Json(row), "p_held_for": held_for}, object)
        return None if made is None else UUID(str(made))

    async def find_batch(self, batch: UUID) -> Batch | None:
        """See `Wishes.find_batch`."""
        row = await self._transport.value("find_batch", {"p_batch": str(batch)}, object)
        return batch_of(row) if isinstance(row, dict) else None

    async def batch_members(self, batch: UUID, *, after: int = -1, limit: int = 100) -> Sequence[Member]:
        """See `Wishes.batch_members`."""
        arguments = {"p_batch": str(batch), "p_after": after, "p_limit": limit}
        return [member_of(row) for row in await self._transport.value("list_members", arguments, list)]

    async def cancel_batch(self, batch: UUID) -> Canceled | None:
        """See `Wishes.cancel_batch`."""
        row = await self._transport.value("cancel_batch", {"p_batch": str(batch)}, object)
        return canceled_of(row) if isinstance(row, dict) else None

    async def generation_state(self, generation_key: str, *, with_usual_time: bool = False) -> GenerationState | None:
        """See `Wishes.generation_state`."""
        arguments = {"p_generation_key": generation_key, "p_with_usual": with_usual_time}
        row = await self._transport.value("get_generation_state", arguments, object)
        return state_of(row) if isinstance(row, dict) else None

    async def stored_keys(self, generation_keys: Collection[str]) -> frozenset[str]:
        """See `Wishes.stored_keys`."""
        arguments = {"p_generation_keys": list(generation_keys)}
        return frozenset(await self._transport.value("get_stored_keys", arguments, list))

    async def popular_recipes(self, *, days: int, limit: int) -> Sequence[dict[str, object]]:
        """See `Wishes.popular_recipes`."""
        return await self._transport.value("get_popular_recipes", {"p_days": days, "p_limit": limit}, list)

    async def begin_watch(self, subject: str, token_digest: str, valid_for: timedelta) -> None:
        """See `Wishes.begin_watch`."""
        arguments = {"p_subject": subject, "p_digest": token_digest, "p_valid_for": valid_for}
        await self._transport.value("begin_watch", arguments, object)

    async def may_watch(self, subject: str, token_digest: str) -> bool:
        """See `Wishes.may_watch`."""
        arguments = {"p_subject": subject, "p_digest": token_digest}
        return await self._transport.value("may_watch", arguments, bool)
