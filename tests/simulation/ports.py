"""The ports as a process of the simulation sees them: every call may be its last."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.budgets import Refused, SubmitGranted
from copperplate.errors import LedgerUnavailable, ProviderFailed, StoreUnavailable, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead, Miss, Negative
from copperplate.model import Job, ProviderResult, Size
from tests.simulation.faults import Fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from uuid import UUID

    from copperplate.budgets import Charge, Spending, SubmitResult
    from copperplate.feed import Cursor, FeedPage, Tier
    from copperplate.ledger_answers import AcquireResult, PeekResult
    from copperplate.model import (
        CanonicalValue,
        Condition,
        Entry,
        Failure,
        InputPicture,
        Needs,
        OriginalUpload,
        Page,
        PictureRequest,
        RenditionUpload,
        RequestCount,
        UploadAddress,
    )
    from copperplate.ports import ObjectStore
    from copperplate.ports.maintenance import CleanupCounts, DiscardedObject, Purged
    from tests.simulation.world import Process, World

BUCKET = "generated-images"
GIVE_UP_SECONDS = 2.5


class WatchedLedger(MemoryLedger):
    """The ledger in memory, with a person's DELETE and a look at what its rows need."""

    def needed_paths(self) -> set[str]:
        return {kept.entry.path for kept in self._entries.values()} | set(self.intents())

    def intents(self) -> list[str]:
        return [row.intent.path for row in self._generations.values() if row.intent is not None]

    def delete(self, key: str) -> None:
        """What `delete from public.image_cache` does."""
        self._remove([name for name, kept in self._entries.items() if kept.entry.generation_key == key])
        self._forget(key)

    def entries(self) -> list[Entry]:
        return [kept.entry for kept in self._entries.values()]


class WatchedStore(MemoryStore):
    """The store in memory, with a look inside and a hammer."""

    def peek(self, path: str) -> bytes | None:
        return self._objects.get(path)

    def paths(self) -> list[str]:
        return list(self._objects)

    def lose(self, path: str) -> None:
        self._objects.pop(path, None)

    def corrupt(self, path: str) -> None:
        self._objects[path] = b"rotten " + self._objects[path]


class ProcessLedger:
    """The ledger over an unreliable network, watched."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._oracle = world.oracle
        self._real = world.ledger

    async def _call(self, name: str, act: Any) -> Any:
        return await self._world.call(
            self._process,
            name,
            self._world.paid(name, act),
            typical=0.01,
            unavailable=LedgerUnavailable("lost"),
            give_up=GIVE_UP_SECONDS,
            repeats=True,
        )

    async def acquire(
        self,
        picture_request: PictureRequest,
        *,
        leader: UUID,
        lease_duration: timedelta,
        charges: Sequence[Charge] = (),
        breakers: Sequence[str] = (),
        spending: Spending | None = None,
    ) -> AcquireResult:
        async def act() -> AcquireResult:
            budgets = self._world.budgets
            is_free = isinstance(self._real._see(picture_request.generation_key, picture_request.rendition_key), Miss)
            result = await self._real.acquire(
                picture_request,
                leader=leader,
                lease_duration=lease_duration,
                charges=charges,
                breakers=breakers,
                spending=spending,
            )
            if budgets is not None and is_free and isinstance(result, Lead):
                budgets.elects(picture_request.generation_key, result, spending)
            elif budgets is not None and isinstance(result, Refused):
                budgets.refuses(picture_request.generation_key, result.refusal, spending)
            if self._world.takedowns is not None:
                self._world.takedowns.answers(picture_request.generation_key, result)
            if is_free and isinstance(result, Lead):
                self._oracle.admits(result, lease_duration.total_seconds())
            elif is_free and isinstance(result, Negative):
                self._oracle.refuses(result)
            if isinstance(result, Lead):
                self._oracle.leads(picture_request.generation_key, leader, result, lease_duration.total_seconds())
            return result

        result: AcquireResult = await self._call("acquire", act)
        return result

    async def peek(self, generation_key: str, rendition_key: str) -> PeekResult:
        async def act() -> PeekResult:
            found = await self._real.peek(generation_key, rendition_key)
            if self._world.takedowns is not None:
                self._world.takedowns.answers(generation_key, found)
            return found

        result: PeekResult = await self._call("peek", act)
        return result

    async def begin_submit(
        self,
        key: str,
        fence: int,
        *,
        submit_no: int,
        provider: str,
        estimate_micro_usd: int | None = None,
        spending: Spending | None = None,
    ) -> SubmitResult:
        async def act() -> SubmitResult:
            budgets, row = self._world.budgets, self._real._held(key, fence)
            is_repeat = row is not None and submit_no == row.submit_no
            granted = await self._real.begin_submit(
                key,
                fence,
                submit_no=submit_no,
                provider=provider,
                estimate_micro_usd=estimate_micro_usd,
                spending=spending,
            )
            if isinstance(granted, SubmitGranted):
                self._oracle.writes_ahead(self._process, key, fence, submit_no)
                if self._world.takedowns is not None:
                    self._world.takedowns.accepts(key, "a submit")
                if budgets is not None and not is_repeat:
                    budgets.submits(key, spending)
            elif isinstance(granted, Refused):
                if budgets is not None:
                    budgets.refuses(key, granted.refusal, spending)
                    budgets.drops(key)
                self._oracle.releases(key)
            return granted

        result: SubmitResult = await self._call("begin_submit", act)
        return result

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        async def act() -> bool:
            is_ours = await self._real.note_request(key, fence, job)
            row = self._real._generations.get(key)
            # What arrives late, once the picture is made, is refused: the job is known by then and needed no more.
            if row is not None and row.status == "generating" and row.job == job:
                self._oracle.notes(key, job.request_id)
            if is_ours:
                self._oracle.accepted(key, fence, "note_request")
            return is_ours

        return bool(await self._call("note_request", act))

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        async def act() -> bool:
            granted = await self._real.begin_decode(key, fence, decode_no=decode_no)
            if granted:
                self._oracle.accepted(key, fence, "begin_decode")
            return granted

        return bool(await self._call("begin_decode", act))

    async def heartbeat(self, key: str, fence: int, lease_duration: timedelta) -> bool:
        async def act() -> bool:
            kept = await self._real.heartbeat(key, fence, lease_duration)
            if kept:
                self._oracle.beats(key, fence, lease_duration.total_seconds())
            return kept

        return bool(await self._call("heartbeat", act))

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        usage: Mapping[str, int],
        cost_micro_usd: int | None = None,
        rendition_paths: Sequence[str] = (),
    ) -> bool:
        async def act() -> bool:
            accepted = await self._real.intend_upload(
                key, fence, upload, usage=usage, cost_micro_usd=cost_micro_usd, rendition_paths=rendition_paths
            )
            if accepted:
                self._oracle.accepted(key, fence, "intend_upload")
                self._oracle.intends(fence, rendition_paths)
                if self._world.budgets is not None:
                    self._world.budgets.bills(key, cost_micro_usd)
            return accepted

        return bool(await self._call("intend_upload", act))

    async def complete(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        url: str | None,
        renditions: Sequence[RenditionUpload] = (),
    ) -> Entry | None:
        async def act() -> Entry | None:
            self._oracle.tells(upload.path)
            for rendition in renditions:
                self._oracle.tells(rendition.path)
            was_live = key in self._real._generations and self._real._generations[key].is_live
            entry = await self._real.complete(key, fence, upload, url=url, renditions=renditions)
            if entry is not None and was_live:
                self._oracle.completes(self._process, key, fence, upload)
                if self._world.takedowns is not None:
                    self._world.takedowns.accepts(key, "a completion")
                standing = {kept.path for kept in self._real.entries()}
                for rendition in renditions:
                    if rendition.path in standing:
                        self._oracle.holds(self._process, rendition.path, rendition.digest, "a rendition was completed")
            return entry

        entry: Entry | None = await self._call("complete", act)
        return entry

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        async def act() -> bool:
            row = self._real._held(key, fence)
            accepted = await self._real.fail(key, fence, failure)
            if row is not None and self._world.budgets is not None:
                self._world.budgets.fails(key, failure, was_sent=row.submit_no > 0)
            if row is not None and row.submit_no:
                self._oracle.fails(key, failure.failure_class)
            if accepted:
                self._oracle.accepted(key, fence, "fail")
                self._oracle.releases(key)
            return accepted

        return bool(await self._call("fail", act))

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, rest: timedelta) -> bool:
        async def act() -> bool:
            is_new = await self._real.report_refusal(name, failure_class, reason, rest)
            if failure_class is FailureClass.STORE:
                self._oracle.store_rests(rest.total_seconds())
            return is_new

        return bool(await self._call("report_refusal", act))

    async def intend_rendition(self, original: Entry, upload: RenditionUpload) -> bool:
        return bool(await self._call("intend_rendition", lambda: self._real.intend_rendition(original, upload)))

    async def record_rendition(self, original: Entry, upload: RenditionUpload) -> Entry | None:
        async def act() -> Entry | None:
            self._oracle.tells(upload.path)
            entry = await self._real.record_rendition(original, upload)
            if entry is not None and entry.path == upload.path:
                self._oracle.holds(self._process, upload.path, upload.digest, "a rendition was recorded")
            return entry

        entry: Entry | None = await self._call("record_rendition", act)
        return entry

    async def report_missing(self, entry: Entry) -> bool:
        async def act() -> bool:
            path = entry.path
            stands = any(kept.path == path for kept in self._real.entries())
            others = {kept.path for kept in self._real.entries()}
            dropped = await self._real.report_missing(entry)
            if not stands:
                self._oracle.check(
                    others == {kept.path for kept in self._real.entries()}, "an old report dropped a new entry"
                )
            elif dropped and entry.is_original:
                self._oracle.releases(entry.generation_key)
            return dropped

        return bool(await self._call("report_missing", act))

    async def record_usage(self, counts: Sequence[RequestCount], *, batch: UUID | None = None) -> bool:
        raise AssertionError("nobody counts here")

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        # Every other watcher is never told: nothing correct may depend on a hint.
        return self._real.hints(key if self._world.random.random() < 0.5 else "nobody speaks of this")

    async def read_feed(self, since: Cursor | None, database: str | None) -> FeedPage:
        copies, asked_at = self._world.copies, self._world.loop.time()
        assert copies is not None

        async def act() -> FeedPage:
            return copies.feed.read(since, database)

        page: FeedPage = await self._call("read_feed", act)
        self._process.read_at = max(self._process.read_at, asked_at)
        return page

    async def invalidate(self, tiers: Collection[Tier], generation_keys: Collection[str] | None) -> None:
        raise AssertionError("nobody purges one tier here")

    async def sweep(self, limit: int) -> int:
        return int(await self._call("sweep", lambda: self._real.sweep(limit)))

    async def cleanup_entries(
        self, kind: str, limit: int, *, older_than: timedelta | None = None, after: str | None = None
    ) -> CleanupCounts:
        counts: CleanupCounts = await self._call(
            "cleanup_entries", lambda: self._real.cleanup_entries(kind, limit, older_than=older_than, after=after)
        )
        return counts

    async def cleanup_generations(self, limit: int) -> int:
        return int(await self._call("cleanup_generations", lambda: self._real.cleanup_generations(limit)))

    async def claim_discarded(self, limit: int) -> Sequence[DiscardedObject]:
        claimed: Sequence[DiscardedObject] = await self._call(
            "claim_discarded", lambda: self._real.claim_discarded(limit)
        )
        return claimed

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        wanted = list(ids)
        return int(await self._call("forget_discarded", lambda: self._real.forget_discarded(wanted)))

    async def count_old_entries(self, kind: str, *, older_than: timedelta | None = None) -> CleanupCounts:
        raise AssertionError("nobody only counts here")

    async def claim_audit(self, bucket: str) -> str | None:
        return await self._real.claim_audit(bucket)

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        return await self._real.audit_objects(bucket, paths, reached)

    async def purge(
        self,
        condition: Condition,
        limit: int,
        *,
        is_dry_run: bool,
        with_pinned: bool = False,
        with_children: bool = False,
    ) -> Purged:
        raise AssertionError("people delete pictures past every process here")


class ProcessStore:
    """The object store over an unreliable network, watched."""

    bucket = BUCKET

    def __init__(self, world: World, process: Process, bucket: str = BUCKET) -> None:
        self._world = world
        self._process = process
        self._real = world.store
        self.bucket = bucket

    async def _call(self, name: str, act: Any) -> Any:
        return await self._world.call(
            self._process, name, act, typical=0.05, unavailable=StoreUnavailable("lost"), give_up=5.0, repeats=True
        )

    async def check(self, needs: Needs) -> None:
        await self._real.check(needs)

    async def check_addresses(self) -> None:
        await self._real.check_addresses()

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        async def act() -> None:
            await self._real.put(path, body, media_type=media_type)
            self._world.oracle.stored[path] = self._world.loop.time()
            self._saw(path)

        await self._call("put", act)

    async def get(self, path: str) -> bytes:
        async def act() -> bytes:
            body = await self._real.get(path)
            self._saw(path)
            return body

        body: bytes = await self._call("get", act)
        return body

    async def exists(self, path: str) -> bool:
        async def act() -> bool:
            return await self._real.exists(path)

        is_there: bool = await self._call("exists", act)
        return is_there

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        async def act() -> frozenset[str]:
            for path in paths:
                self._world.oracle.removes(path)
            return await self._real.remove(paths)

        gone: frozenset[str] = await self._call("remove", act)
        return gone

    async def months(self) -> Sequence[str]:
        # An audit would find every object that was not written ahead, and so hide that it was not.
        return []

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        raise AssertionError("there is nothing to list")

    async def signed_url(self, path: str, *, valid_for: timedelta) -> str | None:
        return None

    async def is_open(self) -> bool:
        return False

    async def upload_address(self, path: str, *, media_type: str) -> UploadAddress | None:
        return None

    async def address_secret(self) -> bytes:
        return b"0" * 32

    def public_url(self, path: str) -> str | None:
        return None

    def _saw(self, path: str) -> None:
        self._world.oracle.seen[(self._process.name, path)] = self._world.loop.time()


class SimulatedProvider:
    """A provider with or without jobs, behind an unreliable network. Numbers what it makes."""

    models: tuple[str, ...] = ("copperplate/painter-1",)
    is_billable = True
    name = "simulated"

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._truth = world.provider

    def settings(self, model: str) -> tuple[str, ...]:
        return ()

    def canvas(self, size: Size) -> Size:
        return size

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        return usage.get("bill")

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        return None

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        prompt = str(recipe["prompt"])
        grant = self._world.oracle.submits_now(self._process, self._world.keys[prompt])
        refusal = self._truth.draw_refusal()

        async def act() -> Job | ProviderResult:
            if refusal is not None:
                raise refusal
            number = self._truth.make(prompt)
            self._world.oracle.accepts(grant, f"job-{number}")
            if self._truth.has_jobs:
                return Job(request_id=f"job-{number}")
            return self._truth.answer(number)

        answer: Job | ProviderResult = await self._world.call(
            self._process,
            "submit",
            act,
            typical=0.1 if self._truth.has_jobs else self._truth.seconds,
            unavailable=ProviderFailed(FailureClass.AMBIGUOUS, "sent, no answer"),
            give_up=30.0,
            on_loss=lambda: self._world.oracle.excuses(grant),
        )
        return answer

    async def close(self) -> None:
        """Nothing is held open."""

    async def collect(self, job: Job) -> ProviderResult:
        number = int(job.request_id.removeprefix("job-"))
        self._world.oracle.collects(job.request_id)

        async def act() -> ProviderResult:
            if self._truth.hides(number):
                raise Uncollected("the result is not there")
            return self._truth.answer(number)

        while True:
            try:
                picture: ProviderResult = await self._world.call(
                    self._process,
                    "collect",
                    act,
                    typical=self._truth.seconds,
                    unavailable=StoreUnavailable("a status request was lost"),
                    give_up=5.0,
                    repeats=True,
                )
            except StoreUnavailable:
                continue  # asking for a result again is free
            return picture


class Truth:
    """What the provider has made, whoever asked."""

    def __init__(self, world: World) -> None:
        self._random = world.random
        self.has_jobs = self._random.random() < 0.5
        self.seconds = self._random.choice((0.5, 3.0, 8.0))
        self.failing = self._random.choice((0.0, 0.0, 0.2))
        if world.is_outage:
            self.failing = 0.9
        self.pictures: dict[int, bytes] = {}
        self.bills: dict[int, int] = {}
        # Some results appear late, some not before the trouble is over; drawn apart from all else.
        self._world = world
        self._lags = random.Random(world.seed)
        self._hidden_until: dict[int, float] = {}

    def answer(self, number: int) -> ProviderResult:
        """A picture, with its bill where there are budgets."""
        usage = {"bill": self.bills[number]} if number in self.bills else {}
        return ProviderResult(body=self.pictures[number], usage=usage)

    def draw_refusal(self) -> ProviderFailed | None:
        if self._random.random() >= self.failing:
            return None
        return self._random.choice(
            (
                ProviderFailed(FailureClass.TRANSIENT, "503", billed=False),
                ProviderFailed(FailureClass.RATE_LIMITED, "429", billed=False),
                ProviderFailed(FailureClass.MODERATED, "no"),
            )
        )

    def make(self, prompt: str) -> int:
        number = len(self.pictures) + 1
        rotten = self._random.random() < self.failing / 2
        self.pictures[number] = b"rubbish" if rotten else f"picture {number} of {prompt}".encode()
        if self._world.budgets is not None:
            self.bills[number] = self._world.budgets.draw_bill()
        self._hidden_until[number] = self._world.loop.time() + self._lags.choice((0, 0, 0, 0, 0, 15, 40, 90))
        return number

    def hides(self, number: int) -> bool:
        """Whether the result cannot be had yet."""
        return not self._world.faults.is_over and self._world.loop.time() < self._hidden_until[number]


def stores(store: ProcessStore) -> list[ObjectStore]:
    """The only store there is, as care takes them."""
    return [store]


def is_lost(fault: Fault) -> bool:
    """Whether the caller never learns the answer of a request that may have arrived."""
    return fault in (Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.LATE)
