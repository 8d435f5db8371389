"""The ledger: who may generate, what is stored, what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from uuid import UUID

    from copperplate.budgets import Charge, Spending, SubmitResult
    from copperplate.failure_classes import FailureClass
    from copperplate.ledger_answers import AcquireResult, PeekResult
    from copperplate.model import Entry, Failure, Job, OriginalUpload, PictureRequest, RenditionUpload, RequestCount


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
        request: PictureRequest,
        *,
        leader: UUID,
        lease_duration: timedelta,
        charges: Sequence[Charge] = (),
        breakers: Sequence[str] = (),
        spending: Spending | None = None,
    ) -> AcquireResult:
        """Decide in one round trip whether this caller gets a hit, leads or waits.

        At most one live `Lead` per generation key exists at any time. Repeated by the holder (`leader`), it answers
        the same lead and fence, and the lease runs anew. `breakers` names what a submit needs (`Kind.breakers`): while
        the breaker of one of them is open, a lead that would submit is refused as `Negative`, and nothing is written;
        once its pause is over, one caller at a time tries. A paid picture is resumed whatever breaker is open.

        `charges` are reserved with a lead, or else the answer is `InsufficientCredits` and nothing is written. A
        takeover inherits what its predecessor reserved, for as long as that may be held. They are settled by
        `complete`, released by `fail`. What is held longer than that, and under no lease, counts as free; a lead of
        its owner releases it.

        `spending` is checked by a read: where a budget has no room for a submit, the answer is `Refused`, and nothing
        is inserted or locked. The caller's own budgets are reserved with a lead that would submit, once for a
        generation and budget; a takeover inherits those it shares with its predecessor. A reservation whose lease ran
        out counts as free. `Gone` is the answer for a picture that was taken down.
        """

    async def peek(self, generation_key: str, rendition_key: str) -> PeekResult:
        """Look without changing anything. `Miss` also means: a lease ran out, acquire may take over."""

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
        """Write ahead that submit number `submit_no` of this attempt is about to be sent, at this estimated cost.

        None as well while a job of this attempt is known: it is to be collected. The submit is booked to every budget
        of `spending`, under the UTC day of this call; what the lead reserved is part of it. Where one has no room, the
        answer is `Refused`: lease and reservations are given back, and no failure is remembered.
        """

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """Note the provider's request id, so that a successor can collect instead of paying again.

        Accepted from an older fence too while no id is known: learning it late only saves a call.
        """

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        """Write ahead that the picture is about to be decoded for the `decode_no`-th time since it came.

        Who dies of it leaves the number behind; an intended upload shows that it went well, and it is zero again.
        """

    async def heartbeat(self, key: str, fence: int, lease_duration: timedelta) -> bool:
        """Set the lease to `lease_duration` from the ledger's now; zero gives it up, and anyone may take over."""

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
        """Write ahead where the original is about to be stored, submitted or given; an earlier intent is discarded.

        Renditions are about to be stored beside it, at `rendition_paths`; what is not completed within the grace is
        removed.
        `usage` is what the provider reported to bill: added to the generation's once a submit, however
        often the picture is collected and its upload intended; `cost_micro_usd` is that in money, None where unknown.
        """

    async def complete(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        url: str | None,
        renditions: Sequence[RenditionUpload] = (),
    ) -> Entry | None:
        """Record the stored original, and stored renditions of it, in one; the breakers of what it needed close.

        Answers the entry that stands for the first rendition; that of the original where there is none, because
        none was given or it was not intended within the grace. None for a stale fence, and then the
        objects are discarded.
        """

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """Record a negative entry and give up the lease."""

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, pause: timedelta) -> bool:
        """Open the breaker of a service that refuses every request, because of our account or settings.

        It stays open for `pause` from now, for all processes; refused callers are told `failure_class` (`ACCOUNT` or
        `STORE`). `reason` is for operators: no secret, no prompt, at most 500 characters are stored. True for the
        report that opens the breaker, so that it is logged once; a repeat answers False.
        """

    async def intend_rendition(self, original: Entry, upload: RenditionUpload) -> bool:
        """Write ahead where a rendition of `original` is about to be stored.

        What is not recorded within the grace is removed. False if the original is no longer the generation's, or the
        generation keeps as many renditions as it may: 64, of which 48 sized. A sized one displaces the one that was
        used least recently, if nobody used that for a day.
        """

    async def record_rendition(self, original: Entry, upload: RenditionUpload) -> Entry | None:
        """Record a stored rendition of `original`; answers the entry that now stands.

        An entry of an older `encoder_version` is replaced. If another process was first, its entry stands, and `upload`
        is discarded. None if the original is no longer the generation's, the upload was not intended within the grace,
        or the generation keeps as many renditions as it may.
        """

    async def report_missing(self, entry: Entry) -> bool:
        """The object of `entry` is gone or altered: drop the entry, and with an original reopen the generation."""

    async def record_usage(self, counts: Sequence[RequestCount], *, batch: UUID | None = None) -> bool:
        """Add up counts, once for each id of a `batch`, which is made anew where None is given.

        Sent again within two hours, with the same id, a batch that was taken changes nothing. Answers whether a wish
        is due: see `Wishes.is_work_due`.
        """

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when `key` may have changed. It may come early, late or never."""
