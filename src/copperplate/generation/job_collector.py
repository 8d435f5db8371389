"""Fetches the picture of a paid job.

A job is given up only when the provider says that it failed, or when its retention is over.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.errors import (
    LeaseLost,
    LedgerMisconfigured,
    NoPicture,
    ProviderFailed,
    StillGenerating,
    Unavailable,
    Uncollected,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.digests import digest_of
from copperplate.generation.retry_policy import collect_again_after, submit_again_after
from copperplate.model import Failure
from copperplate.repeats import growing_pauses
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from copperplate.generation.attempt import Attempt
    from copperplate.generation.timings import Timings
    from copperplate.generation.verified import Verified
    from copperplate.model import Job, ProviderResult
    from copperplate.ports import Clock, Ledger, Provider

logger = logging.getLogger(__name__)

# Between two fetches within one collection.
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 4.0


class JobCollector:
    """Collects jobs whose ids are recorded, by this process or by a predecessor."""

    def __init__(self, *, ledger: Ledger, clock: Clock, timings: Timings) -> None:
        self._ledger = ledger
        self._clock = clock
        self._retention = timings.job_retention
        self._first_pause = timings.collect_pause
        self._look_seconds = timings.look.total_seconds()

    async def collect(
        self, attempt: Attempt, job: Job, verify: Callable[[ProviderResult], Awaitable[Verified]]
    ) -> Verified:
        """The job's picture. Raises `ProviderFailed` where the provider says that the job failed or made no picture.

        Any other failure leaves the job to a later leader: raises `StillGenerating` with the pause until then. Once
        the retention is over the job is lost: raises `LeaseLost`, and the next leader submits once more.
        """
        try:
            return await self._look(job, attempt.kind.provider, verify)
        except (ProviderFailed, LeaseLost, Unavailable, LedgerMisconfigured, StillGenerating):
            raise
        except Uncollected as error:
            raise await self._record_uncollected(attempt, job, error) from error
        except Exception as error:
            log_unexpected(error, "a collection")
            trouble = Uncollected(f"unexpected {type(error).__name__}")
            raise await self._record_uncollected(attempt, job, trouble) from error

    async def _look(
        self, job: Job, provider: Provider, verify: Callable[[ProviderResult], Awaitable[Verified]]
    ) -> Verified:
        """Fetch and verify, repeatedly for some seconds: a host may answer a page or a part before the picture.

        Raises `ProviderFailed` for a whole picture of the wrong kind that is the same at every fetch: it is the job's
        result. Raises `Uncollected` for anything else, which may become the picture later.
        """
        give_up_at = self._clock.monotonic() + self._look_seconds
        pauses = growing_pauses(FIRST_PAUSE_SECONDS, max_seconds=MAX_PAUSE_SECONDS)
        seen: list[str] = []
        while True:
            try:
                made = await provider.collect(job)
                digest = await digest_of(made.body)
                if digest not in seen[-1:]:  # the same bytes are not decoded again
                    seen.append(digest)
                    return await verify(made)
            except ProviderFailed as error:
                if error.failure_class is not FailureClass.BAD_OUTPUT:
                    raise
                failed = error
            pause = next(pauses)
            if self._clock.monotonic() + pause > give_up_at:
                break
            await self._clock.sleep(pause)
        if isinstance(failed, NoPicture):
            raise Uncollected("what lies at its address is no whole picture") from failed
        if len(seen) > 1:
            raise Uncollected("what lies at its address is another picture each time") from failed
        raise failed

    async def _record_uncollected(
        self, attempt: Attempt, job: Job, trouble: Uncollected
    ) -> StillGenerating | LeaseLost:
        """Record when the job is collected again; after its retention, that it is lost. Returns the error to raise."""
        age = timedelta(seconds=max(0.0, self._clock.monotonic() - attempt.noted_at))
        is_lost = age >= self._retention
        if is_lost:
            pause = submit_again_after(attempt.lead.attempt)
        else:
            pause = collect_again_after(age, first=self._first_pause, retention=self._retention)
        logger.log(
            logging.ERROR if is_lost or trouble.needs_operator else logging.WARNING,
            "a paid job is lost: its retention is over, a new submit is paid for by the owner: %s"
            if is_lost
            else "a paid job cannot be collected yet, and is kept: %s",
            f"provider={attempt.kind.provider.name} reason={str(trouble)!r} age={age.total_seconds():.0f}s "
            f"next={pause.total_seconds():.0f}s job={job.request_id!r} key={attempt.lease.key[:12]}",
        )
        failure = Failure(
            failure_class=FailureClass.LOST if is_lost else FailureClass.UNCOLLECTED,
            message=str(trouble),
            retry_after=pause,
            billed=True,
        )
        is_ours = await self._ledger.fail(attempt.lease.key, attempt.lease.fence, failure)
        return LeaseLost() if is_lost or not is_ours else StillGenerating(pause)
