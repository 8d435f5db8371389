"""The outbox of CDN purges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.ledger.transport import Calls
from copperplate.ports.cdns import CdnCopies

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta
    from uuid import UUID

    from copperplate.ports.cdns import CdnScope


class CdnPurgeCalls(Calls):
    """`CdnOutbox`."""

    async def take_cdn_purges(
        self, scopes: Collection[CdnScope], claim: UUID, *, limit: int, held_for: timedelta, lifetime: timedelta
    ) -> CdnCopies:
        """See `CdnOutbox.take_cdn_purges`."""
        arguments = {
            "p_scopes": sorted(scope.value for scope in scopes),
            "p_claim": claim,
            "p_limit": limit,
            "p_held_for": held_for,
            "p_lifetime": lifetime,
        }
        return CdnCopies.from_row(await self._transport.value("take_cdn_purges", arguments, dict))

    async def settle_cdn_purges(self, claim: UUID, scope: CdnScope, *, is_done: bool) -> int:
        """See `CdnOutbox.settle_cdn_purges`."""
        arguments = {"p_claim": claim, "p_scope": scope.value, "p_is_done": is_done}
        return await self._transport.value("settle_cdn_purges", arguments, int)
