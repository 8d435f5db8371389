"""What streams tell of generations and batches: whole snapshots as server-sent events, rendered for all followers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from copperplate.http.api import PAGE
from copperplate.recipes.kinds import KINDS
from copperplate.serving.watches import Pace, View
from copperplate.wishes import State
from copperplate.work.step import WORK

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
GENERATION_PACE: Final = Pace(first_seconds=0.25, factor=1.3, max_seconds=2.0)
BATCH_PACE: Final = Pace(first_seconds=0.5, factor=1.3, max_seconds=2.0, least_seconds=0.25)
# They change by themselves: none makes an event, and an id that is final stays the same.
_RUNNING: Final = frozenset({"created_at", "usual_seconds", "retry_after_seconds"})


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
        self._usual_seconds: float | None = None

    async def look(self) -> View | None:
        """See `Source.look`."""
        # The usual time is asked for once: it makes no event, and costs more than all the rest.
        state = await self._ledger.generation_state(self.hint, with_usual_time=not self._last_id)
        if state is None:
            return None
        if not self._last_id:
            self._usual_seconds = state.usual_seconds
        state = replace(state, usual_seconds=self._usual_seconds)
        told = self._tell(state)
        is_final = state.state.is_final
        event_id = _id_of(_json(_standing(told, is_final=is_final)), is_final=is_final)
        has_changed = event_id != self._last_id
        self._last_id = event_id
        name = state.state.value if is_final else "progress"
        pieces = (event(name, _json(told), event_id),)
        return View(
            lambda: pieces,
            pieces if has_changed else (),
            last_id=event_id,
            is_final=is_final,
            is_idle=state.state is State.PENDING,
            is_private=KINDS[state.kind].is_private,
        )


class BatchSource:
    """One batch, with the members as they were last seen: only what may have changed is read again."""

    hint = WORK
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
            pages = self._pages(batch, "concepts_generated", tuple(self._rendered))
            return self._view(batch, lambda: pages, pages if is_first else [*changes, *pages], _id_in(pages[-1]))
        rendered = tuple(self._rendered)
        whole = cache(lambda: self._pages(batch, "progress", rendered))
        return self._view(batch, whole, whole() if is_first else changes)

    @staticmethod
    def _view(batch: Batch, whole: Callable[[], Sequence[bytes]], changes: Sequence[bytes], last_id: str = "") -> View:
        return View(
            whole,
            changes,
            last_id=last_id,
            is_final=batch.is_final,
            is_idle=batch.counts[State.PENDING] > 0 and not batch.counts[State.GENERATING],
            is_private=batch.is_private,
            owner=batch.owner,
        )

    async def _read(self, batch: Batch) -> list[int]:
        """Read the members that may have changed, in their order, until they add up; positions of those that did."""
        changed: list[int] = []
        after = next((member.position for member in self._members if not member.state.is_final), len(self._members)) - 1
        while after + 1 < batch.total and any(batch.counts[state] != self._counts[state] for state in batch.counts):
            page = await self._ledger.batch_members(self._id, after=after, limit=PAGE)
            if not page:
                break
            changed += [member.position for member in page if self._note(member)]
            after = page[-1].position
        return changed

    def _note(self, member: Member) -> bool:
        """Keep a member as it is now; whether it was another before."""
        position = member.position
        if position == len(self._members):
            self._members.append(member)
            self._rendered.append(self._render(member))
        elif self._members[position] != member:
            self._counts[self._members[position].state] -= 1
            self._members[position] = member
            self._rendered[position] = self._render(member)
        else:
            return False
        self._counts[member.state] += 1
        return True

    def _render(self, member: Member) -> bytes:
        return _json(self._tell_member(member))

    def _progress(self, batch: Batch, position: int) -> bytes:
        data = _with(
            {
                "id": str(batch.id),
                "thread_id": batch.thread_id,
                "total": batch.total,
                "counts": {state.value: number for state, number in batch.counts.items()},
            },
            member=self._rendered[position],
        )
        return event("concept_progress", data, _id_of(data))

    def _pages(self, batch: Batch, name: str, rendered: Sequence[bytes]) -> list[bytes]:
        """The batch and all members, by pages; only the last page of the last events has the final id."""
        told = self._tell(batch)
        starts = range(0, len(rendered), PAGE)
        pages = []
        for number, start in enumerate(starts, start=1):
            members = b"[%b]" % b",".join(rendered[start : start + PAGE])
            data = _with({**told, "page": number, "pages": len(starts)}, members=members)
            is_last = batch.is_final and number == len(starts)
            pages.append(event(name, data, _id_of(data, is_final=is_last)))
        return pages


def _standing(told: Mapping[str, Any], *, is_final: bool = True) -> dict[str, Any]:
    """What was told, without what runs by itself; once it is final, when it began makes no difference either."""
    left_out = _RUNNING | {"started_at"} if is_final else _RUNNING
    standing = {name: value for name, value in told.items() if name not in left_out}
    if told.get("error"):
        standing["error"] = _standing(told["error"])
    return standing


def _json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def _with(told: Mapping[str, Any], **rendered: bytes) -> bytes:
    """An object of JSON with one more member, which is rendered already."""
    [(name, value)] = rendered.items()
    return b'%b,"%b":%b}' % (_json(told)[:-1], name.encode(), value)


def _id_of(data: bytes, *, is_final: bool = False) -> str:
    return (FINAL if is_final else "") + hashlib.sha256(data).hexdigest()[:ID_CHARS]


def _id_in(rendered: bytes) -> str:
    return rendered.split(b"\nid: ", 1)[1].split(b"\n", 1)[0].decode()
