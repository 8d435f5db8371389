"""Telling CDNs what they are to forget, as it waits in the ledger's outbox."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.errors import CdnUnavailable, LedgerUnavailable, Misconfigured
from copperplate.operations.copies import remove_now
from copperplate.ports.cdns import MOST, CdnScope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from copperplate.ports import Cdn, CdnOutbox, ObjectStore
    from copperplate.ports.cdns import CdnCopies

logger = logging.getLogger(__name__)

# Longer than one run takes, however slow the CDNs are.
HELD_FOR: Final = timedelta(seconds=90)
# For so long after it was declared wrong a picture may still get into a CDN: see settle_cdn_purges.
LATE: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdnReport:
    """What one run did: what CDNs were told to forget, how much of that is told once more, and what failed CDNs say.

    `told` counts generations and objects; everything, or a bucket, counts as one.
    """

    told: int = 0
    again: int = 0
    errors: tuple[CdnUnavailable | Misconfigured, ...] = ()


class CdnPurges:
    """Empties the outbox, as far as this process has CDNs, opened for each run; without any it takes nothing.

    Any number of processes may do so at once. `copies_live` is how long a CDN serves a copy without asking. Objects
    that the ledger has discarded are removed from the `stores` given before their CDN is told, which would else fetch
    them once more.
    """

    def __init__(
        self,
        outbox: CdnOutbox,
        cdns: Mapping[CdnScope, Callable[[], AbstractAsyncContextManager[Cdn]]],
        *,
        copies_live: timedelta,
        stores: Mapping[str, ObjectStore] = MappingProxyType({}),
    ) -> None:
        self._outbox = outbox
        self._cdns = cdns
        self._lifetime = copies_live + LATE
        self._stores = stores

    @property
    def is_off(self) -> bool:
        """Whether this process has no CDN to tell."""
        return not self._cdns

    @property
    def scopes(self) -> AbstractSet[CdnScope]:
        """Of the CDNs of this process."""
        return self._cdns.keys()

    async def run(self) -> CdnReport:
        """Tell each CDN what is due, once. What fails is due again later.

        Raises `LedgerUnavailable` and `LedgerMisconfigured` where nothing can be taken, and nothing of a CDN.
        """
        if self.is_off:
            return CdnReport()
        claim = uuid4()
        taken = await self._outbox.take_cdn_purges(
            self.scopes, claim, limit=MOST, held_for=HELD_FOR, lifetime=self._lifetime
        )
        if taken.dropped:
            logger.warning("%d purges of a CDN that failed are given up: their copies have ended", taken.dropped)
        if not any(taken.has(scope) for scope in self.scopes):
            return CdnReport()
        buckets = {bucket for bucket, _ in taken.discarded}
        stores = {bucket: store for bucket, store in self._stores.items() if bucket in buckets}
        await remove_now(stores, taken.discarded)
        return await self._tell_all(claim, taken)

    async def _tell_all(self, claim: UUID, taken: CdnCopies) -> CdnReport:
        reports = await asyncio.gather(*(self._tell(claim, scope, taken) for scope in self.scopes if taken.has(scope)))
        return CdnReport(
            told=sum(report.told for report in reports),
            again=sum(report.again for report in reports),
            errors=tuple(error for report in reports for error in report.errors),
        )

    async def _tell(self, claim: UUID, scope: CdnScope, taken: CdnCopies) -> CdnReport:
        told = len(taken.objects) if scope is CdnScope.OBJECT else len(taken.generation_keys) or 1
        try:
            async with self._cdns[scope]() as cdn:
                await cdn.forget(taken)
        except (CdnUnavailable, Misconfigured) as error:
            return await self._settle(claim, scope, 0, error)
        return await self._settle(claim, scope, told, None)

    async def _settle(
        self, claim: UUID, scope: CdnScope, told: int, error: CdnUnavailable | Misconfigured | None
    ) -> CdnReport:
        again = 0
        try:
            again = await self._outbox.settle_cdn_purges(claim, scope, is_done=error is None)
        except LedgerUnavailable:  # the claim ends, and whoever takes it then tells the CDN once more
            again = told
        if error is not None:
            return CdnReport(errors=(error,))
        logger.info("a CDN was told to forget copies: %s=%d again=%d", scope.value, told, again)
        return CdnReport(told=told, again=again)
