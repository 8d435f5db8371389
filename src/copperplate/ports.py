"""What the core needs from the world. Each port says in words what an adapter promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta
    from typing import Any
    from uuid import UUID

    from copperplate.model import (
        Ask,
        CanonicalValue,
        Charge,
        Condition,
        Credits,
        Entry,
        Failure,
        FailureClass,
        Job,
        Made,
        Needs,
        Page,
        RenditionUpload,
        Sight,
        Size,
        Upload,
        Use,
        Verdict,
        Want,
    )
    from copperplate.users import User


class Clock(Protocol):
    """Time, as an argument. The ledger's leases never depend on it."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC; used for names and reports only."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (at least one turn of the event loop)."""


class Sweeper(Protocol):
    """Gives up on leaders that died."""

    async def sweep(self, limit: int) -> int:
        """Fail at most `limit` generations whose leader died long ago and nobody asked for since; answers how many."""


class Ledger(Sweeper, Protocol):
    """The referee: who may generate, what is stored, what failed.

    Every method is one transaction, decided by the ledger's own clock, and may be repeated with the
    same arguments for the same answer. Methods that carry a fence change nothing and answer False or
    None when the fence is not the newest. All raise `LedgerUnavailable` when the outcome is unknown or
    nothing happened, and `LedgerMisconfigured` when a setting or a right is at fault and nothing happened.
    """

    async def acquire(
        self,
        want: Want,
        *,
        leader: UUID,
        lease: timedelta,
        may_lead: bool = True,
        charges: Sequence[Charge] = (),
        services: Sequence[str] = (),
    ) -> Verdict:
        """Settle what this caller is, in one round trip: `Hit`, `Lead`, `Wait`, `Negative`, `Free` or `Denied`.

        At most one live `Lead` per generation key exists at any time. `Free` is answered only where
        `may_lead` is False. Repeated by the holder (`leader`), it answers the same lead and fence,
        and the lease runs anew. `services` names what a submit needs (`Kind.services`): while the breaker of
        one of them is open, a lead that would submit is refused as `Negative`, and nothing is written; once
        its rest is over, one caller at a time tries. What is paid for is led on whatever rests.

        `charges` are reserved with a lead, or else it is `Denied` and nothing is written. A takeover inherits
        what its predecessor reserved, for as long as that may be held. They are settled by `complete`, released by
        `fail`. What is held longer than that, and under no lease, counts as free; a lead of its owner releases it.
        """

    async def peek(self, generation_key: str, rendition_key: str) -> Sight:
        """Look without changing anything. `Free` also means: a lease ran out, acquire may take over."""

    async def begin_submit(
        self, key: str, fence: int, *, submit_no: int, provider: str, estimate_micro_usd: int | None = None
    ) -> bool:
        """Write ahead that submit number `submit_no` of this attempt is about to be sent, at this estimated cost.

        Refused as well while a job of this attempt is known: it is to be collected.
        """

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """Note the provider's request id, so that a successor can collect instead of paying again.

        Accepted from an older fence too while no id is known: learning it late only saves a call.
        """

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        """Write ahead that the picture is about to be decoded for the `decode_no`-th time since it came.

        Who dies of it leaves the number behind; an intended upload shows that it went well, and it is zero again.
        """

    async def heartbeat(self, key: str, fence: int, lease: timedelta) -> bool:
        """Set the lease to `lease` from the ledger's now; zero gives it up, and anyone may take over."""

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: Upload,
        *,
        usage: Mapping[str, int],
        cost_micro_usd: int | None = None,
        rendition: RenditionUpload | None = None,
    ) -> bool:
        """Write ahead where the original is about to be stored; an earlier intent is discarded.

        A `rendition` is about to be stored beside it; what is not completed within the grace is removed.
        `usage` is what the provider reported to bill: added to the generation's once a submit, however
        often the picture is collected and its upload intended; `cost_micro_usd` is that in money, None where unknown.
        """

    async def complete(
        self, key: str, fence: int, upload: Upload, *, url: str | None, rendition: RenditionUpload | None = None
    ) -> Entry | None:
        """Record the stored original, and a stored rendition of it, in one.

        Answers the entry that stands for the rendition; that of the original where there is none, because
        none was given or it was not intended within the grace. None for a stale fence, and then the
        objects are discarded.
        """

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """Record a negative entry and give up the lease."""

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, rest: timedelta) -> bool:
        """Open the breaker of a service that refuses, for the sake of our account or settings, whatever it is asked.

        It rests for `rest` from now, for all processes; those it refuses are told `failure_class` (`ACCOUNT` or
        `STORE`). `reason` is for operators: no secret, no prompt, at most 500 characters are kept. True for the
        report that begins the rest, so that it is logged once; a repeat answers False.
        """

    async def report_success(self, name: str) -> None:
        """Close the breaker of a service that did what it was asked. `complete` does so for what it needed."""

    async def intend_rendition(self, original: Entry, upload: Upload) -> bool:
        """Write ahead where a rendition of `original` is about to be stored.

        What is not recorded within the grace is removed. False if the original is no longer the generation's.
        """

    async def record_rendition(self, original: Entry, rendition_key: str, upload: Upload) -> Entry | None:
        """Record a stored rendition of `original`; answers the entry that now stands.

        If another process was first, that is its entry, and `upload` is discarded. None if the
        original is no longer the generation's, or the upload was not intended within the grace.
        """

    async def report_missing(self, entry: Entry) -> bool:
        """The object of `entry` is gone or altered: drop the entry, and with an original reopen the generation."""

    async def record_usage(self, uses: Sequence[Use], *, batch: UUID | None = None) -> None:
        """Add up counts, once for each id of a `batch`, which is made anew where None is given.

        Sent again within two hours, with the same id, a batch that was taken changes nothing.
        """

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when `key` may have changed. It may come early, late or never."""


class CreditLedger(Protocol):
    """Credits of signed-in people, and what they asked. Every method may be repeated for the same answer."""

    async def credits(self, user: UUID) -> Credits:
        """What a user has; nothing for somebody who was never granted any. What lapsed is not held."""

    async def grant_credits(self, user: UUID, amount: int, ref: str) -> Credits:
        """Give `amount` credits, 1 to 10^9, once per `ref`.

        Refused where `ref` stands for another grant, or names the user: it is kept when they are forgotten.
        """

    async def refund_credits(self, reservation: UUID) -> bool:
        """Give back what a reservation took, once; False where its picture was delivered, or there is none."""

    async def audit_credits(self) -> Mapping[str, Any]:
        """Sums over all accounts, and `faults`: accounts whose sums do not agree."""

    async def begin_ask(self, user: UUID, generation_key: str, idempotency_key: str | None) -> Ask:
        """Remember for a day that a user asks for a generation; what is known of the key, if one is given."""

    async def deliver(
        self, user: UUID, generation_key: str, answer: Mapping[str, Any], idempotency_key: str | None
    ) -> Mapping[str, Any]:
        """The user is about to get `answer`, which holds no address: nothing is refunded from here on.

        Answers it with the `credits` left, or what was answered first under the same key.
        """

    async def is_asked_by(self, user: UUID, generation_key: str) -> bool:
        """Whether this user asked for the generation, or paid for it."""

    async def forget_user(self, user: UUID) -> bool:
        """Take a user's name off everything; sums stay. False where nothing names them."""


class LedgerCare(Sweeper, Protocol):
    """What operators and the cron ask of the ledger. Every call is bounded by `limit` rows."""

    async def generation_stats(self) -> Mapping[str, Any]:
        """One row of `get_generation_stats()`."""

    async def cache_stats(self) -> Mapping[str, Any]:
        """One row of `get_cache_stats()`."""

    async def savings(self) -> Sequence[Mapping[str, Any]]:
        """The rows of `get_savings()`, one for each kind; money in millionths of a dollar."""

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """Remove entries not used for `older_than`; answers counts.

        With `after`, empty at first, at most `limit` entries are looked at from that place on, and `reached` is where
        the next call goes on, None at the end: entries in use are then looked at once, not by every call.
        """

    async def cleanup_memoji(self, limit: int) -> Mapping[str, int]:
        """Archive memoji used often, remove old ones used once or never; answers `memoji`, `bytes`, `archived`."""

    async def count_old_memoji(self) -> Mapping[str, int]:
        """What `cleanup_memoji` would do in all, as the same counts; changes nothing."""

    async def memoji_stats(self) -> Mapping[str, Any]:
        """One row of `get_memoji_stats()`."""

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """Remove `generation_status` rows that nothing needs; answers counts."""

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        """Objects whose grace is over, as (id, bucket, path), reserved for this caller for some minutes."""

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """The objects are removed from the store; answers how many rows went."""

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """What `cleanup_entries` would remove in all, as the same counts; changes nothing."""

    async def claim_audit(self, bucket: str) -> str | None:
        """Where the search for forgotten objects of a bucket goes on (empty: from the beginning).

        Reserved for this caller for a minute; None while somebody else is at it.
        """

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """Discard those of `paths` that nothing names, and note how far the search has come; answers how many.

        `paths` must be older than any upload under way. The reservation is renewed.
        """

    async def check_setup(self) -> Mapping[str, Any]:
        """What the ledger is: `schema`, `postgres`, `now` (seconds since 1970), `buckets` (is it public, by name).

        A ledger without a gateway before it adds `pooler`: `place` and `mode` of the one it found, or None.
        """

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """What is there of our schema, and of public those `names`, for `schema.Schema.compare` to read."""

    async def usage_totals(self) -> Mapping[str, Any]:
        """Sums since the beginning: `usage`, `money`, `latency`, `in_flight`, `discarded`.

        `usage` is by kind, provider, model, outcome and tier; `money`, in millionths of a dollar, by the first three.
        `latency` counts answers by `LATENCY_BOUNDS_MS`.
        """

    async def purge(self, condition: Condition, limit: int, *, is_dry_run: bool) -> Mapping[str, Any]:
        """Remove at most `limit` generations that meet `condition`, with all they have; answers what went.

        Counts are `generations`, `images` and `bytes`; `keys` of generations and `objects` as [bucket, path]. A dry
        run only counts.
        """


class ObjectStore(Protocol):
    """Immutable objects in one bucket. A path is written once and never changed."""

    bucket: str

    async def check(self, needs: Needs) -> None:
        """Whether such an object would be taken now: asked before money is spent, and cheap where it took one lately.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """

    async def check_addresses(self) -> None:
        """Raises `StoreMisconfigured` where `public_url` answers addresses that nobody can open, `StoreUnavailable`."""

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        """Store `body` durably before returning.

        The same bytes at the same path again is success. Raises `ObjectConflict` where other bytes
        were stored before, `StoreUnavailable` when it is unknown whether anything was stored,
        `StoreMisconfigured` when a setting is at fault and nothing was.
        """

    async def get(self, path: str) -> bytes:
        """The whole object. Raises `ObjectMissing`, `StoreUnavailable`, `StoreMisconfigured`.

        Missing is only what the store says so of to a caller who would see it: what is hidden is misconfigured.
        """

    async def exists(self, path: str) -> bool:
        """Whether an object is there, without its bytes. Raises `StoreUnavailable`, `StoreMisconfigured`."""

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        """Remove objects; answers the paths that are certainly gone now (absent ones included)."""

    async def months(self) -> Sequence[str]:
        """The folders `YYYY/MM` that hold objects, in order; raises `StoreUnavailable`, `StoreMisconfigured`."""

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        """At most `limit` objects of a folder, by name, from the `offset`-th on; what is no object of ours is counted.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """

    def public_url(self, path: str) -> str | None:
        """Where anyone can load the object, or None where the store has no public address."""


class Verifier(Protocol):
    """Tells who a token is from."""

    async def verify(self, token: str) -> User:
        """The signed-in person whose token this is, signature, issuer, audience and times checked.

        Raises `Unauthorized`, in words that repeat nothing of the token; `KeysUnavailable`; `Misconfigured`.
        """

    async def close(self) -> None:
        """Let go of connections; a later call starts afresh."""


class Cdn(Protocol):
    """Copies of pictures outside of our reach, forgotten on request."""

    async def forget(self, generation_keys: Sequence[str], objects: Sequence[tuple[str, str]]) -> None:
        """Drop every copy of these generations' pictures, and of these objects, as (bucket, path).

        Raises `CdnUnavailable`, `Misconfigured`.
        """


class Provider(Protocol):
    """Makes pictures, for money or not."""

    name: str
    models: tuple[str, ...]
    is_billable: bool

    def settings(self, model: str) -> tuple[str, ...]:
        """Every fixed parameter that can change a pixel, as sorted `name=value`; part of the key."""

    def canvas(self, size: Size) -> Size:
        """The size it will make for an asked size: its own multiples and minimum, covering it."""

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue]) -> int | None:
        """What one generation costs, in millionths of a dollar; None where that is not known."""

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """What a submit that reported `usage` cost, in millionths of a dollar; None where that cannot be told."""

    async def submit(self, recipe: Mapping[str, CanonicalValue]) -> Job | Made:
        """Ask for the picture: exactly one billable request, never repeated inside.

        Answers the picture, or the `Job` to collect. Raises `ProviderFailed`, of class `ACCOUNT` where it refuses us
        whatever the prompt, and `Misconfigured` where a setting is at fault and nothing was sent or taken.
        """

    async def collect(self, job: Job) -> Made:
        """Wait for a job and fetch its picture; safe to repeat.

        Raises `ProviderFailed` only where the provider says that the job failed, or shows what is no picture;
        `Uncollected` for all else, after some seconds of asking again.
        """

    async def close(self) -> None:
        """Let go of connections; a later call starts afresh."""


class Images(Protocol):
    """Verifies and encodes pictures, off the event loop."""

    async def verify(self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]]) -> tuple[str, Size]:
        """The sniffed format and true size of `body`, fully decoded in bounded memory and time.

        `begin` is awaited when its turn has come, before the first pixel is decoded; what it raises ends the matter.
        Raises `ProviderFailed` (bad output), `StillGenerating` where its turn did not come in time.
        """

    async def encode(self, original: bytes, want: Want, *, at_most_bytes: int | None = None) -> bytes:
        """The rendition asked for: cropped and scaled to its size, encoded anew, without metadata.

        A png above `at_most_bytes` is given a palette; where that does not do either, it fails.
        Raises as `verify` does.
        """
