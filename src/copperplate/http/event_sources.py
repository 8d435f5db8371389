"""What streams tell of generations and batches: whole snapshots as server-sent events, rendered for all followers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from copperplate.recipes.kinds import IMAGE
from copperplate.serving.watches import Pace, View
from copperplate.wishes import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from copperplate.ports import Wishes
    from copperplate.wishes import Batch, GenerationState, Member

# How soon a client whose stream ended comes back.
RETRY_MS: Final = 3_000
# An answer to a reconnect with such an id may be 204: nothing more will come.
FINAL: Final = "final-"
ID_CHARS: Final = 16
# What ledgers announce when a wish was made, taken or settled.
WORK_HINT: Final = "work"
PAGE: Final = 100
GENERATION_PACE: Final = Pace(first_seconds=0.25, factor=1.3, max_seconds=2.0)
BATCH_PACE: Final = Pace(first_seconds=0.5, factor=1.3, max_seconds=2.0, least_seconds=0.25)
# They change by themselves: neither makes an event, and an id that is final stays the same.
_RUNNING: Final = ("usual_seconds", "retry_after_seconds")


def event(name: str, data: bytes, event_id: str) -> bytes:
    """One event of a stream (HTML standard, 9.2). `data` is one line."""
    return b"retry: %d\nid: %b\nevent: %b\ndata: %b\n\n" % (RETRY_MS, event_id.encode(), name.encode(), data)


class GenerationSource:
    """One generation; `tell` is what is told of its state."""

    pace = GENERATION_PACE

    def __init__(self, key: str, ledger: Wishes, tell: Callable[[GenerationState], Mapping[str, Any]]) -> None:
        self.hint = key
        self._ledger = ledger
        self._tell = tell
        self._last_id = ""

    async def look(self) -> View | None:
        """See `Source.look`."""
        state = await self._ledger.generation_state(self.hint)
        if state is None:
            return None
        told = self._tell(state)
        event_id = _id_of(_json(_standing(told)), is_final=state.state.is_final)
        has_changed = event_id != self._last_id
        self._last_id = event_id
        name = state.state.value if state.state.is_final else "progress"
        pieces = (event(name, _json(told), event_id),)
        return View(
            lambda: pieces,
            pieces if has_changed else (),
            last_id=event_id,
            is_final=state.state.is_final,
            is_private=state.kind != IMAGE.name,
        )


class BatchSource:
    """One batch, with the members as they were last seen: only what may have changed is read again."""

    hint = WORK_HINT
    pace = BATCH_PACE

    def __init__(
        self,
        batch: UUID,
        ledger: Wishes,
        *,
        tell: Callable[[Batch], dict[str, Any]],
        tell_member: Callable[[Member], Mapping[str, Any]],
    ) -> None:
        self._id = batch
        self._ledger = ledger
        self._tell = tell
        self._tell_member = tell_member
        self._members: list[Member] = []
        self._rendered: list[bytes] = []
        self._counts: Counter[State] = Counter()
        self._seen: Batch | None = None

    async def look(self) -> View | None:
        """See `Source.look`."""
        batch = await self._ledger.find_batch(self._id)
        if batch is None:
            return None
        is_first = self._seen is None
        changed = await self._read(batch)
        # Of what is told here: the members may be newer than the batch.
        self._seen = batch = replace(batch, counts={state: self._counts[state] for state in State})
        changes = [self._progress(batch, position) for position in changed]
        if batch.is_final:
            pages = self._pages(batch, "concepts_generated")
            return self._view(batch, lambda: pages, pages if is_first else [*changes, *pages])
        members = tuple(self._rendered)
        return self._view(
            batch,
            lambda: self._pages(batch, "progress", members),
            self._pages(batch, "progress") if is_first else changes,
        )
