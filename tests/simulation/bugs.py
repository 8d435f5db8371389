"""Bugs to plant, each one a line somebody might write: the simulation must find every one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.tables import BreakerRow, GenerationRow
from copperplate.errors import ObjectMissing, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.generation import leader
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.job_collector import JobCollector
from copperplate.generation.leader import Leader
from copperplate.generation.lease import Lease
from copperplate.generation.pending_uploads import StoredRendition
from copperplate.generation.rendition_plan import plan_renditions
from copperplate.generation.rendition_uploads import RenditionUploads
from copperplate.generation.uploader import Uploader
from copperplate.ledger_answers import Wait
from copperplate.model import Job, ProviderResult
from copperplate.recipes.objects import sha256_hex
from tests.simulation.budget_bugs import SUBMITS_AGAIN_UNBOOKED, WHERE_AND_WHAT
from tests.simulation.copy_bugs import BUGS_OF_COPIES
from tests.simulation.ports import WatchedLedger
from tests.simulation.takedowns import BUGS_OF_TAKEDOWNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from copperplate.generation.attempt import Attempt


def _newest(ledger: MemoryLedger, key: str, fence: int) -> int:
    row = ledger._generations.get(key)
    return row.fence if row is not None else fence


async def _complete_without_fence(self: WatchedLedger, key: str, fence: int, upload: Any, **named: Any) -> Any:
    return await MemoryLedger.complete(self, key, _newest(self, key, fence), upload, **named)


async def _fail_without_fence(self: WatchedLedger, key: str, fence: int, failure: Any) -> bool:
    return await MemoryLedger.fail(self, key, _newest(self, key, fence), failure)


async def _beat_without_fence(self: WatchedLedger, key: str, fence: int, lease_duration: Any) -> bool:
    return await MemoryLedger.heartbeat(self, key, _newest(self, key, fence), lease_duration)


async def _submit_unannounced(self: Leader) -> ProviderResult:
    provider = self.attempt.kind.provider
    answer = await provider.submit(self.attempt.request.recipe)
    return await provider.collect(answer) if isinstance(answer, Job) else answer


async def _collect_before_noting(self: Leader) -> ProviderResult:
    attempt = self.attempt
    provider, lease, submit_no = attempt.kind.provider, attempt.lease, attempt.lead.submit_no + 1
    await self.ledger.begin_submit(lease.key, lease.fence, submit_no=submit_no, provider=provider.name)
    lease.check()
    answer = await provider.submit(attempt.request.recipe)
    return await provider.collect(answer) if isinstance(answer, Job) else answer


async def _adopt_unseen(self: Uploader, store: Any, intent: Any) -> bytes | None:
    try:
        return bytes(await store.get(intent.path))
    except ObjectMissing:
        return None


async def _report_by_key(self: WatchedLedger, entry: Any) -> bool:
    stored = self._entries.get(entry.key)
    return stored is not None and await MemoryLedger.report_missing(self, stored.entry)


_lead = Coordinator._lead


async def _trust_from_the_answer(
    self: Coordinator, picture_request: Any, lead: Any, asked_at: float, spending: Any
) -> Any:
    trusted_from = self._clock.monotonic() + self._timings.margin.total_seconds()
    return await _lead(self, picture_request, lead, trusted_from, spending)


async def _acquire_without_renewal(
    self: WatchedLedger, picture_request: Any, *, leader: Any, lease_duration: Any, **named: Any
) -> Any:
    row = self._generations.get(picture_request.generation_key)
    if (
        row is not None
        and row.leader == leader
        and isinstance(self._see(picture_request.generation_key, picture_request.rendition_key), Wait)
    ):
        return row.lead(self._clock.monotonic())
    return await MemoryLedger.acquire(self, picture_request, leader=leader, lease_duration=lease_duration, **named)


async def _begin_submit_over_a_job(self: WatchedLedger, key: str, fence: int, **named: Any) -> Any:
    row = self._held(key, fence)
    if row is not None:
        row.job = None
    return await MemoryLedger.begin_submit(self, key, fence, **named)


async def _intend_nothing(self: WatchedLedger, *_: Any) -> bool:
    return True


async def _intend_nowhere(self: WatchedLedger, key: str, fence: int, upload: Any, **_: Any) -> bool:
    return self._held(key, fence) is not None


async def _complete_and_forget(self: WatchedLedger, key: str, fence: int, upload: Any, **named: Any) -> Any:
    known = set(self._discarded)
    entry = await MemoryLedger.complete(self, key, fence, upload, **named)
    for path in set(self._discarded) - known:
        del self._discarded[path]
    return entry


def _forget_the_intent(self: WatchedLedger, key: str) -> None:
    del self._generations[key]
    self._give_back_all([key])


def _always_kept(self: WatchedLedger, path: str) -> bool:
    self._discarded.pop(path, None)
    return True


def _resume_the_living_alone(self: WatchedLedger, row: GenerationRow) -> bool:
    return row.is_live or row.failure_class is FailureClass.ABANDONED


_record_uncollected = JobCollector._record_uncollected


async def _put_off_as_if_it_were_old(self: JobCollector, attempt: Attempt, job: Job, trouble: Uncollected) -> Any:
    attempt.noted_at -= 1_000
    return await _record_uncollected(self, attempt, job, trouble)


def _see_no_lease(self: WatchedLedger, generation_key: str, rendition_key: str) -> Any:
    row = self._generations.get(generation_key)
    if row is not None and row.is_live:
        row.lease_until -= 2.0
    return MemoryLedger._see(self, generation_key, rendition_key)


async def _note_never(self: WatchedLedger, key: str, fence: int, job: Any) -> bool:
    return self._held(key, fence) is not None


def _claim_again_with_the_old_fence(
    self: WatchedLedger, key: str, row: GenerationRow, leader: Any, until: float
) -> None:
    fence = row.fence
    MemoryLedger._claim_again(self, key, row, leader, until)
    row.fence = fence


async def _complete_before_the_object_is_there(self: Uploader, *_: Any) -> None:
    return None


async def _intend_the_original_alone(self: WatchedLedger, key: str, fence: int, upload: Any, **named: Any) -> bool:
    return await MemoryLedger.intend_upload(self, key, fence, upload, usage=named["usage"])


async def _intend_the_first_rendition(self: WatchedLedger, key: str, fence: int, upload: Any, **named: Any) -> bool:
    named["rendition_paths"] = named["rendition_paths"][:1]
    return await MemoryLedger.intend_upload(self, key, fence, upload, **named)


async def _complete_before_renditions_are_there(self: RenditionUploads) -> Any:
    for planned in self.pending.plan:
        body = self.pending.original_body + f" as {planned.rendition.format}".encode()
        upload = planned.as_upload(digest=sha256_hex(body), size_bytes=len(body), encoder_version=1)
        self.stored[planned.key] = StoredRendition(upload=upload, body=body)
    return tuple(self.stored.values())


def _plan_by_key_alone(request: Any, ahead: Any, *, now: Any, **_: Any) -> Any:
    return plan_renditions(request, ahead, original_digest="", now=now, fence=0)


async def _claim_what_is_needed(self: WatchedLedger, limit: int) -> Any:
    return [(gone.id, gone.bucket, path) for path, gone in self._discarded.items()][:limit]


def _pause_of_all(self: BreakerRow, now: float) -> float:
    return self.open_until - now if self.open_until is not None else 0.0


async def _complete_and_stay_open(self: WatchedLedger, key: str, fence: int, upload: Any, **named: Any) -> Any:
    breakers = dict(self._breakers)
    entry = await MemoryLedger.complete(self, key, fence, upload, **named)
    self._breakers = breakers
    return entry


def _settle_whatever_the_state(self: WatchedLedger, generation_key: str) -> None:
    for each in self._reservations_of(generation_key):
        each.state = "held" if each.state == "released" else each.state
    MemoryLedger._settle(self, generation_key)


def _reserve_again(self: WatchedLedger, generation_key: str, charges: Any) -> None:
    kept, self._reservations = self._reservations, []
    MemoryLedger._reserve(self, generation_key, charges)
    self._reservations = kept + self._reservations


def _give_back_what_was_delivered(self: WatchedLedger, each: Any) -> bool:
    each.is_delivered = False
    return MemoryLedger._give_back(self, each)


async def _fail_and_keep(self: WatchedLedger, key: str, fence: int, failure: Any) -> bool:
    with patch.object(self.__class__, "_give_back_all", lambda *_: None):
        return await MemoryLedger.fail(self, key, fence, failure)


@contextlib.contextmanager
def _both(*patches: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


def _on(owner: type, name: str, bug: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, bug, create=True)


BUGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "complete does not look at the fence": _on(WatchedLedger, "complete", _complete_without_fence),
    "fail does not look at the fence": _on(WatchedLedger, "fail", _fail_without_fence),
    "heartbeat does not look at the fence": _on(WatchedLedger, "heartbeat", _beat_without_fence),
    "a takeover keeps the fence": _on(WatchedLedger, "_claim_again", _claim_again_with_the_old_fence),
    "a lease is over two seconds early": _on(WatchedLedger, "_see", _see_no_lease),
    "the lease is trusted from its answer on": _on(Coordinator, "_lead", _trust_from_the_answer),
    "the lease is not checked before a submit": _on(Lease, "check", lambda _: None),
    "a repeated acquire does not renew the lease": _on(WatchedLedger, "acquire", _acquire_without_renewal),
    "a submit is not written ahead": _on(Leader, "_submit", _submit_unannounced),
    "the job's id is noted too late": _on(Leader, "_submit", _collect_before_noting),
    "the job's id is never written": _on(WatchedLedger, "note_request", _note_never),
    "a submit forgets a job told of late": _on(WatchedLedger, "begin_submit", _begin_submit_over_a_job),
    "a job that cannot be had is dropped": _on(WatchedLedger, "_resumes", _resume_the_living_alone),
    "a job is lost before its time": _on(JobCollector, "_record_uncollected", _put_off_as_if_it_were_old),
    "an object is adopted unseen": _on(Uploader, "_adopt", _adopt_unseen),
    "complete does not wait for the upload": _on(Uploader, "_put", _complete_before_the_object_is_there),
    "an upload is not written ahead": _on(WatchedLedger, "intend_upload", _intend_nowhere),
    "a stale leader's object is forgotten": _on(WatchedLedger, "complete", _complete_and_forget),
    "a removed generation forgets its upload": _on(WatchedLedger, "_forget", _forget_the_intent),
    "a rendition stored with its original is not written ahead": lambda: _both(
        patch.object(WatchedLedger, "intend_upload", _intend_the_original_alone),
        patch.object(WatchedLedger, "_take_back", _always_kept),
    ),
    "only the rendition asked for is written ahead": lambda: _both(
        patch.object(WatchedLedger, "intend_upload", _intend_the_first_rendition),
        patch.object(WatchedLedger, "_take_back", _always_kept),
    ),
    "complete does not wait for the renditions": _on(RenditionUploads, "store", _complete_before_renditions_are_there),
    "a discarded path is used again": lambda: patch.object(leader, "plan_renditions", _plan_by_key_alone),
    "a rendition is not written ahead": lambda: _both(
        patch.object(WatchedLedger, "intend_rendition", _intend_nothing),
        patch.object(WatchedLedger, "_take_back", _always_kept),
    ),
    "a rendition is recorded after its grace": _on(WatchedLedger, "_take_back", _always_kept),
    "a missing object is reported by key alone": _on(WatchedLedger, "report_missing", _report_by_key),
    "the breaker does not open": _on(BreakerRow, "fail", lambda *_: None),
    "the breaker lets everybody try": _on(BreakerRow, "pause", _pause_of_all),
    "the breaker stays open": _on(WatchedLedger, "complete", _complete_and_stay_open),
    "complete takes what was given back": _on(WatchedLedger, "_settle", _settle_whatever_the_state),
    "a takeover reserves again": _on(WatchedLedger, "_reserve", _reserve_again),
    "a failure gives nothing back": _on(WatchedLedger, "fail", _fail_and_keep),
    "what was delivered is refunded": _on(WatchedLedger, "_give_back", _give_back_what_was_delivered),
    "the sweep gives nothing back": _on(WatchedLedger, "_release_expired", lambda *_: None),
    "objects are removed without grace or check": _on(WatchedLedger, "claim_discarded", _claim_what_is_needed),
    **{name: _on(WatchedLedger, method, change) for name, (method, change) in WHERE_AND_WHAT.items()},
    "a second submit is booked to nothing": _on(Leader, "_submit_once", SUBMITS_AGAIN_UNBOOKED),
    **{name: _on(WatchedLedger, method, bug) for name, (method, bug) in BUGS_OF_TAKEDOWNS.items()},
    **{name: _on(owner, method, bug) for name, (owner, method, bug) in BUGS_OF_COPIES.items()},
}
