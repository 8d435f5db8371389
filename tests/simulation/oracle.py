"""The promises, checked against what was seen at every call. Knows nothing of how they are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from copperplate.failure_classes import FailureClass
from copperplate.recipes.objects import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.ledger_answers import Lead, Negative
    from copperplate.model import Entry, Upload
    from tests.simulation.world import Process, World

NEVER_COUNTED = (FailureClass.MODERATED, FailureClass.ACCOUNT, FailureClass.LOST)
MAY_SPEAK_OF_PROMPT = (FailureClass.BAD_OUTPUT, FailureClass.INVALID)


@dataclass(slots=True)
class Epoch:
    """One attempt at one picture: from a lead with nothing sent to its end."""

    granted: dict[int, Process] = field(default_factory=dict)
    is_noted: bool = False
    is_excused: bool = False


@dataclass(slots=True)
class Grant:
    """A submit that was written ahead and may be sent once."""

    fence: int
    epoch: Epoch


@dataclass(slots=True)
class Breaker:
    """The promise itself: five failures in a row, a growing rest, one try at a time, closed by a picture."""

    failures: int = 0
    failed_at: float = -math.inf
    rest: float = 0.0
    open_until: float | None = None
    trying_until: float = -math.inf
    keys: set[str] = field(default_factory=set)
    opened_by: FailureClass | None = None

    def fails(self, now: float, key: str, failure_class: FailureClass) -> None:
        if failure_class is FailureClass.UNCOLLECTED and key in self.keys:
            return
        if self.failed_at < now - 600:
            self.failures, self.keys = 0, set()
        self.failed_at = now
        if self.open_until is not None and self.open_until > now:
            self.keys |= {key} if failure_class is FailureClass.UNCOLLECTED else set()
            return
        may_be_prompt = failure_class in MAY_SPEAK_OF_PROMPT
        self.failures += not (may_be_prompt and key in self.keys)
        self.keys.add(key)
        is_failed_try = self.open_until is not None and (not may_be_prompt or self.opened_by is failure_class)
        if self.failures >= 5 or is_failed_try:
            self.rest = min(2 * self.rest or 30.0, 120.0)
            self.open_until, self.opened_by, self.failures = now + self.rest, failure_class, 0


class Oracle:
    """Records what happened and says which promise it breaks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self.submits = 0
        self.second_submits = 0
        self.refusals = 0
        self.newest: dict[str, float] = {}
        self.removed: set[str] = set()
        self.harmed: dict[str, float] = {}
        self.seen: dict[tuple[str, str], float] = {}
        self.stored: dict[str, float] = {}
        self.told: dict[str, float] = {}
        # The fence of each rendition that was written ahead with its original, by its path.
        self.intended: dict[str, int] = {}
        self._highest = 0
        self._voided: dict[str, int] = {}
        self._holders: dict[int, object] = {}
        self._lease_until: dict[str, float] = {}
        self._epochs: dict[str, Epoch] = {}
        self._grants: dict[tuple[str, str], Grant] = {}
        self._jobs: dict[str, Epoch] = {}
        self._noted: set[str] = set()
        self._breaker = Breaker()
        # By generation: the job that is paid for, and when it was noted.
        self._kept: dict[str, tuple[str, float]] = {}
        self._store = Breaker()

    def broken(self, promise: str) -> None:
        self.violations.append(f"{self._world.loop.time():.3f} {promise}")

    def check(self, holds: bool, promise: str) -> None:
        if not holds:
            self.broken(promise)

    # --- leases ---------------------------------------------------------------------------------

    def leads(self, key: str, leader: object, lead: Lead, lease: float) -> None:
        now = self._world.loop.time()
        if self._holders.get(lead.fence) == leader:
            self.check(self.newest.get(key) == lead.fence, "a fence that was overtaken leads again")
        else:
            self.check(lead.fence > self._highest, "a new lead has no new fence")
            self.check(self._lease_until.get(key, -math.inf) <= now, "two hold a lease at once")
            if lead.submit_no == 0:
                self._epochs[key] = Epoch()
        kept = self._kept.get(key)
        self.check(kept is None or (lead.job is not None and lead.job.request_id == kept[0]), "a paid job is forgotten")
        self._highest = max(self._highest, lead.fence)
        self._holders[lead.fence] = leader
        self.newest[key] = lead.fence
        self._lease_until[key] = now + lease

    def admits(self, lead: Lead, lease: float) -> None:
        """A lead that would submit is granted: the breaker is closed, or this is the one that tries."""
        now = self._world.loop.time()
        if lead.job is not None or lead.intent is not None:
            return
        for breaker in self._open():
            self.check((breaker.open_until or 0) <= now, "a lead that would submit while the breaker is open")
            self.check(breaker.trying_until <= now, "two try a provider at once")
            breaker.trying_until = now + lease

    def refuses(self, result: Negative) -> None:
        """Somebody is sent away although nothing is remembered of the picture: only an open breaker may do that."""
        now, is_open = self._world.loop.time(), self._open()
        self.check(bool(is_open), "the breaker refuses though it is closed")
        until = max((max(each.open_until or now, each.trying_until) for each in is_open), default=now)
        self.check(result.retry_after.total_seconds() <= until - now + 0.001, "the breaker rests too long")
        self.refusals += 1

    def _open(self) -> list[Breaker]:
        return [each for each in (self._breaker, self._store) if each.open_until is not None]

    def store_rests(self, seconds: float) -> None:
        """The store refused an object: for so long nobody submits."""
        self._store = Breaker(open_until=self._world.loop.time() + seconds)

    def fails(self, key: str, failure_class: FailureClass) -> None:
        if failure_class is FailureClass.LOST and key in self._kept:
            age = self._world.loop.time() - self._kept[key][1]
            # The age is the ledger's, and what passed since by a clock that drifts.
            self.check(age >= 0.9 * self._world.retention, "a paid job is lost before its time")
        if failure_class is not FailureClass.UNCOLLECTED:
            self._kept.pop(key, None)
        self._breaker.trying_until = self._store.trying_until = -math.inf
        if failure_class not in NEVER_COUNTED:
            self._breaker.fails(self._world.loop.time(), key, failure_class)

    def beats(self, key: str, fence: int, lease: float) -> None:
        self.accepted(key, fence, "heartbeat")
        self._lease_until[key] = self._world.loop.time() + lease

    def releases(self, key: str) -> None:
        self._lease_until[key] = -math.inf

    def voids(self, key: str) -> None:
        """The picture was declared wrong: no fence of before counts any more."""
        self.releases(key)
        self.newest[key] = math.inf
        self._kept.pop(key, None)
        self._voided[key] = self._highest

    def accepted(self, key: str, fence: int, step: str) -> None:
        self.check(self.newest.get(key) == fence, f"a stale {step} was accepted")

    def is_led(self, key: str) -> bool:
        """Whether somebody's lease runs."""
        return self._lease_until.get(key, -math.inf) > self._world.loop.time()

    # --- money ----------------------------------------------------------------------------------

    def writes_ahead(self, process: Process, key: str, fence: int, submit_no: int) -> None:
        self.accepted(key, fence, "begin_submit")
        epoch = self._epochs[key]
        if submit_no in epoch.granted:
            self.check(epoch.granted[submit_no] is process, "one submit number was given to two")
        elif epoch.granted:
            self.second_submits += 1
            first = epoch.granted[1]
            excused = epoch.is_excused or first.is_troubled
            self.check(excused, "a second submit without any reason")
            self.check(
                not (epoch.is_noted and self._world.provider.has_jobs), "a second submit though the job was known"
            )
        epoch.granted[submit_no] = process
        self.check(len(epoch.granted) <= 2, "a third submit in one attempt")
        self._grants[(process.name, key)] = Grant(fence, epoch)

    def notes(self, key: str, request_id: str) -> None:
        self._noted.add(request_id)
        if self._kept.get(key, ("", 0.0))[0] != request_id:
            self._kept[key] = (request_id, self._world.loop.time())
        if self._jobs.get(request_id) is self._epochs.get(key):
            self._epochs[key].is_noted = True

    def collects(self, request_id: str) -> None:
        self.check(request_id in self._noted, "a job is waited for whose id nobody else knows")

    def submits_now(self, process: Process, key: str) -> Grant | None:
        """Called where the process decides to send; what happens to the request later is the network's doing."""
        grant = self._grants.pop((process.name, key), None)
        if grant is None:
            self.broken("a submit that was not written ahead")
            return None
        # A leader that sleeps through a DELETE cannot know; the picture it pays for is not kept.
        if grant.fence > self._voided.get(key, 0):
            self.check(self.newest.get(key) == grant.fence, "a submit by a leader that was overtaken")
            held = self._lease_until.get(key, 0.0) > self._world.loop.time()
            self.check(held, "a submit under a lease that ran out")
        return grant

    def accepts(self, grant: Grant | None, request_id: str) -> None:
        """The provider takes the order: money is out."""
        self.submits += 1
        if grant is not None:
            self._jobs[request_id] = grant.epoch

    def excuses(self, grant: Grant | None) -> None:
        """The answer to this submit is lost."""
        if grant is not None:
            grant.epoch.is_excused = True

    # --- objects --------------------------------------------------------------------------------

    def completes(self, process: Process, key: str, fence: int, upload: Upload) -> None:
        self.accepted(key, fence, "complete")
        self._kept.pop(key, None)
        self.releases(key)
        self._breaker, self._store = Breaker(), Breaker()  # a picture was made and stored: they close
        self.holds(process, upload.path, upload.digest, "completed")

    def holds(self, process: Process, path: str, digest: str, what: str) -> None:
        """The object of a new entry is there and whole, unless it was harmed after its writer last saw it."""
        body = self._world.store.peek(path)
        if self.harmed.get(path, -math.inf) <= self.seen.get((process.name, path), -math.inf) or body is None:
            is_whole = body is not None and sha256_hex(body) == digest
            self.check(is_whole or (path in self.harmed and body is None), f"{what} without its object")

    def intends(self, fence: int, paths: Sequence[str]) -> None:
        """Renditions are about to be stored with their original; what one attempt left behind, no other may need."""
        for path in paths:
            self.check(self.intended.setdefault(path, fence) == fence, "two attempts share the path of a rendition")

    def tells(self, path: str) -> None:
        """The ledger hears that an object was stored, and may refuse it."""
        self.told[path] = self._world.loop.time()

    def removes(self, path: str) -> None:
        needed = self._world.ledger.needed_paths()
        self.check(path not in needed, "an object was removed that a row needs")
        self.removed.add(path)

    def served(self, entry: Entry, body: bytes, wanted: str) -> None:
        self.check(sha256_hex(body) == entry.digest, "other bytes were served than were recorded")
        self.check(f"of {wanted}".encode() in body, "another picture was served than was asked for")

    # --- at the end -----------------------------------------------------------------------------

    def everything_is_whole(self, entries: list[Entry], read: Callable[[str], bytes | None]) -> None:
        for entry in entries:
            body = read(entry.path)
            is_whole = body is not None and sha256_hex(body) == entry.digest
            self.check(is_whole or entry.path in self.harmed, "an entry without its object")

    def no_orphans(self, paths: list[str]) -> None:
        # What a process stores after it slept for longer than the grace, and never tells, only a listing can find.
        untold = {path for path in self.removed if self.told.get(path, -1.0) < self.stored.get(path, 0.0)}
        orphans = set(paths) - self._world.ledger.needed_paths() - untold
        self.check(not orphans, f"{len(orphans)} orphaned objects")
