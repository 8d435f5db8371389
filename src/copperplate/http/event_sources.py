"""What streams tell of generations and batches: whole snapshots as server-sent events, rendered for all followers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from copperplate.http.api import PAGE
from copperplate.recipes.kinds import KINDS
from copperplate.serving.watches import Pace, View
from copperplate.wishes import State

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from copperplate.ports import Wishes
    from copperplate.wishes import Batch, GenerationState, Member

    # Of a member, what may change: its state, and why it failed.
    Standing = tuple[State, str | None]

# How soon a client whose stream ended comes back.
RETRY_MS: Final = 3_000
# An answer to a reconnect with such an id may be 204: nothing more will come.
FINAL: Final = "final-"
ID_CHARS: Final = 16
# Changes of more bytes are told as a snapshot, which is read for each follower: a watch holds no more than this.
MAX_CHANGE_BYTES: Final = 64 * 1024
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

    def __init__(
        self, key: str, ledger: Wishes, tell: Callable[[GenerationState], Awaitable[Mapping[str, Any]]]
    ) -> None:
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
        told = await self._tell(state)
        is_final = state.state.is_final
        event_id = _id_of(_json(_standing(told, is_final=is_final)), is_final=is_final)
        has_changed = event_id != self._last_id
        self._last_id = event_id
        name = state.state.value if is_final else "progress"
        pieces = (event(name, _json(told), event_id),)
        return View(
            changes=pieces,
            whole=pieces,
            is_news=has_changed,
            last_id=event_id,
            is_final=is_final,
            is_idle=not is_final and not state.is_led,
            is_private=KINDS[state.kind].is_private,
            kind=state.kind,
        )


class BatchSource:
    """One batch. Of each member it keeps what may change; the rest is read when it is told, a page at a time."""

    pace = BATCH_PACE

    def __init__(
        self,
        batch: UUID,
        ledger: Wishes,
        *,
        tell: Callable[[Batch], dict[str, Any]],
        tell_member: Callable[[Member], Mapping[str, Any]],
    ) -> None:
        self.hint = str(batch)
        self._id = batch
        self._ledger = ledger
        self._tell = tell
        self._tell_member = tell_member
        # By position.
        self._standings: list[Standing] = []
        # Few differ: equal ones are one object.
        self._known: dict[Standing, Standing] = {}
        self._counts: Counter[State] = Counter()
        self._is_first = True

    async def look(self) -> View | None:
        """See `Source.look`."""
        batch = await self._ledger.find_batch(self._id)
        if batch is None:
            return None
        # Nobody was told a view before the first one.
        is_first, self._is_first = self._is_first, False
        changes = Changes(are_too_many=is_first)
        await self._read(batch, changes)
        # Of what is told here: the members may be newer than the batch.
        batch = replace(batch, counts={state: self._counts[state] for state in State})
        standings = tuple(self._standings)
        return View(
            changes=[self._progress(batch, member) for member in changes.rendered],
            read_pages=partial(self._pages, batch, standings),
            has_end=batch.is_final or changes.are_too_many,
            last_id=await self._last_id(batch, standings) if batch.is_final else "",
            is_news=is_first or changes.are_any or batch.is_final,
            is_final=batch.is_final,
            is_idle=not batch.is_final and not batch.is_led,
            is_private=batch.is_private,
            owner=batch.owner,
        )

    async def _read(self, batch: Batch, changes: Changes) -> None:
        """Read the members that may have changed, in their order, until they add up."""
        open_ones = (number for number, (state, _) in enumerate(self._standings) if not state.is_final)
        after = next(open_ones, len(self._standings)) - 1
        while after + 1 < batch.total and any(batch.counts[state] != self._counts[state] for state in batch.counts):
            page = await self._ledger.batch_members(self._id, after=after, limit=PAGE)
            if not page:
                break
            for member in page:
                if self._note(member):
                    changes.add(partial(self._render, member))
            after = page[-1].position

    def _note(self, member: Member) -> bool:
        """Keep how a member stands now; whether it stood otherwise before."""
        now = (member.state, member.code)
        now = self._known.setdefault(now, now)
        if member.position == len(self._standings):
            self._standings.append(now)
        elif (before := self._standings[member.position]) != now:
            self._counts[before[0]] -= 1
            self._standings[member.position] = now
        else:
            return False
        self._counts[member.state] += 1
        return True

    def _render(self, member: Member) -> bytes:
        return _json(self._tell_member(member))

    @staticmethod
    def _progress(batch: Batch, member: bytes) -> bytes:
        data = _with(
            {
                "id": str(batch.id),
                "thread_id": batch.thread_id,
                "total": batch.total,
                "counts": {state.value: number for state, number in batch.counts.items()},
            },
            member=member,
        )
        return event("concept_progress", data, _id_of(data))

    async def _pages(self, batch: Batch, standings: Sequence[Standing]) -> AsyncGenerator[bytes]:
        """The batch and all members as they stood, by pages."""
        for start in range(0, len(standings), PAGE):
            yield (await self._page(batch, standings, start))[0]

    async def _last_id(self, batch: Batch, standings: Sequence[Standing]) -> str:
        return (await self._page(batch, standings, (len(standings) - 1) // PAGE * PAGE))[1]

    async def _page(self, batch: Batch, standings: Sequence[Standing], start: int) -> tuple[bytes, str]:
        """One event and its id; only the last page of the last events has a final one."""
        members = await self._ledger.batch_members(self._id, after=start - 1, limit=PAGE)
        as_they_stood = (
            replace(member, state=state, code=code)
            for member, (state, code) in zip(members, standings[start : start + PAGE], strict=False)
        )
        number, pages = start // PAGE + 1, -(-len(standings) // PAGE)
        rendered = b"[%b]" % b",".join(self._render(member) for member in as_they_stood)
        data = _with({**self._tell(batch), "page": number, "pages": pages}, members=rendered)
        event_id = _id_of(data, is_final=batch.is_final and number == pages)
        return event("concepts_generated" if batch.is_final else "progress", data, event_id), event_id


class Changes:
    """Members that changed between two looks, rendered, up to a number of bytes; beyond it, that there are too many."""

    def __init__(self, *, are_too_many: bool) -> None:
        self.rendered: list[bytes] = []
        self.are_any = False
        self.are_too_many = are_too_many
        self._bytes = 0

    def add(self, render: Callable[[], bytes]) -> None:
        """Another one."""
        self.are_any = True
        if self.are_too_many:
            return
        self.rendered.append(render())
        self._bytes += len(self.rendered[-1])
        if self._bytes > MAX_CHANGE_BYTES:
            self.are_too_many = True
            self.rendered.clear()


def _standing(told: Mapping[str, Any], *, is_final: bool = True) -> dict[str, Any]:
    """What was told, without what runs by itself; once it is final, when it began makes no difference either."""
    left_out = _RUNNING | {"started_at"} if is_final else _RUNNING
    standing = {name: value for name, value in told.items() if name not in left_out}
    if told.get("url_expires_at"):  # another address each time, of the same picture
        del standing["url"], standing["url_expires_at"]
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
