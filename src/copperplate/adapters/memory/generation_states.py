"""The part of the ledger in memory that tells of generations: their states, the popular ones, and who may watch."""

from __future__ import annotations

import statistics
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.wishes import MemoryWishes
from copperplate.failure_classes import FailureClass
from copperplate.recipes.objects import original_key
from copperplate.wishes import GenerationState, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from copperplate.adapters.memory.tables import GenerationRow
    from copperplate.model import CanonicalValue, Entry
    from copperplate.ports import Clock

# Of a model, for its usual time.
LAST_PICTURES: Final = 20
# After the end of a lease: a follower has taken over by then, if there is one.
TAKEOVER_SECONDS: Final = 10.0


class MemoryGenerationStates(MemoryWishes):
    """What callers are told of generations, over the tables in memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._watches: dict[tuple[str, str], float] = {}

    async def generation_state(self, generation_key: str, *, with_usual_time: bool = False) -> GenerationState | None:
        """See `Wishes.generation_state`."""
        wish = next(self._open_wishes(generation_key), None)
        state = self._state_of(generation_key, is_awaited=wish is not None)
        if state is None:
            return None
        row = self._generations.get(generation_key)
        recipe = row.recipe if row is not None else wish.asked.recipe if wish is not None else {}
        created = row.created if row is not None else wish.created if wish is not None else 0.0
        failure = row if state is State.FAILED else None
        return GenerationState(
            generation_key=generation_key,
            kind=str(recipe["kind"]),
            state=state,
            created_at=self._at_time(created),
            started_at=self._at_time(row.asked_at) if row is not None and row.submit_no else None,
            failure_class=None if failure is None else failure.failure_class or FailureClass.ABANDONED,
            retry_after=timedelta(0) if failure is None else self._pause_of(failure),
            entry=self._original_of(generation_key) if state is State.COMPLETED else None,
            is_led=not state.is_final and self._is_worked_on(generation_key),
            usual_seconds=self._usual_seconds(recipe) if with_usual_time else None,
        )

    async def stored_keys(self, generation_keys: Collection[str]) -> frozenset[str]:
        """See `Wishes.stored_keys`."""
        return frozenset(key for key in generation_keys if self._original_of(key) is not None)

    async def popular_recipes(self, *, days: int, limit: int) -> Sequence[dict[str, object]]:
        """See `Wishes.popular_recipes`."""
        since = self._clock.monotonic() - days * DAY_SECONDS
        asked = {row.entry.generation_key for row in self._entries.values() if row.last_accessed >= since}
        rows = [row for key, row in self._generations.items() if key in asked and row.total_requests]
        rows.sort(key=lambda row: -row.total_requests)
        return [dict(row.recipe) for row in rows[:limit]]

    async def begin_watch(self, subject: str, token_digest: str, valid_for: timedelta) -> None:
        """See `Wishes.begin_watch`."""
        now = self._clock.monotonic()
        self._watches = {watch: until for watch, until in self._watches.items() if until > now}
        self._watches[subject, token_digest] = now + valid_for.total_seconds()

    async def may_watch(self, subject: str, token_digest: str) -> bool:
        """See `Wishes.may_watch`."""
        return self._watches.get((subject, token_digest), 0.0) > self._clock.monotonic()

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`: so do the tokens to watch what they wished for."""
        theirs = [row for row in self._wishes.values() if row.asked.owner == f"user:{user}"]
        subjects = {row.key for row in theirs} | {str(row.batch) for row in theirs}
        self._watches = {watch: until for watch, until in self._watches.items() if watch[0] not in subjects}
        return await super().forget_user(user)

    def _state_of(self, key: str, *, is_awaited: bool) -> State | None:
        """The state of a generation; `is_awaited`: an open wish asks for it again where that may help."""
        if self._original_of(key) is not None:
            return State.COMPLETED
        row = self._generations.get(key)
        if row is None or row.status == "completed":
            return State.PENDING if is_awaited else None
        if row.is_live:
            is_left = not is_awaited and row.lease_until < self._clock.monotonic() - TAKEOVER_SECONDS
            return State.FAILED if is_left else State(row.status)
        # An open wish outlasts what passes: its picture is asked for again.
        if not is_awaited or row.failure_class is None or not row.failure_class.is_passing:
            return State.FAILED
        return State.GENERATING if self._is_submitted(key) else State.PENDING

    def _is_worked_on(self, key: str) -> bool:
        return self._is_led(key) or any(self._is_in_flight(wish) for wish in self._open_wishes(key))

    def _original_of(self, key: str) -> Entry | None:
        stored = self._entries.get(original_key(key))
        return None if stored is None else stored.entry

    def _usual_seconds(self, recipe: Mapping[str, CanonicalValue]) -> float | None:
        times = [
            row.generation_ms
            for row in self._entries.values()
            if row.generation_ms is not None
            and self._generations[row.entry.generation_key].recipe["model"] == recipe["model"]
        ]
        return statistics.median(times[-LAST_PICTURES:]) / 1_000 if times else None

    def _pause_of(self, row: GenerationRow) -> timedelta:
        return timedelta(seconds=max(0.0, row.retry_at - self._clock.monotonic()))

    def _at_time(self, seconds: float) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - seconds)
