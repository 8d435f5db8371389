"""API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls
from copperplate.ports.access import ApiKeyRecord, FoundApiKey, KeyState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.ports.access import NewApiKey


class ApiKeyCalls(Calls):
    """`ApiKeys`."""

    async def create_api_key(self, new: NewApiKey) -> ApiKeyRecord:
        """See `ApiKeys.create_api_key`."""
        arguments = {
            "p_prefix": new.prefix,
            "p_digest": new.digest,
            "p_name": new.name,
            "p_tier": new.tier,
            "p_scopes": sorted(new.scopes),
            "p_is_visible": new.is_visible,
            "p_expires_in": new.expires_in,
            "p_cap_micro_usd": new.cap_micro_usd,
            "p_cap_pictures": new.cap_pictures,
        }
        return ApiKeyRecord.from_row(await self._transport.value("create_api_key", arguments, dict))

    async def find_api_key(self, digest: str) -> FoundApiKey | None:
        """See `ApiKeys.find_api_key`."""
        row = await self._transport.value("find_api_key", {"p_digest": digest}, object)
        if not isinstance(row, dict):
            return None
        left = None if row["left_ms"] is None else timedelta(milliseconds=row["left_ms"])
        return FoundApiKey(key=ApiKeyRecord.from_row(row), state=KeyState(row["state"]), left=left)

    async def list_api_keys(self) -> Sequence[ApiKeyRecord]:
        """See `ApiKeys.list_api_keys`."""
        return [ApiKeyRecord.from_row(row) for row in await self._transport.value("list_api_keys", {}, list)]

    async def rotate_api_key(self, prefix: str, digest: str, grace: timedelta) -> ApiKeyRecord | None:
        """See `ApiKeys.rotate_api_key`."""
        arguments = {"p_prefix": prefix, "p_digest": digest, "p_grace": grace}
        return _if_any(await self._transport.value("rotate_api_key", arguments, object))

    async def revoke_api_key(self, prefix: str) -> ApiKeyRecord | None:
        """See `ApiKeys.revoke_api_key`."""
        return _if_any(await self._transport.value("revoke_api_key", {"p_prefix": prefix}, object))


def _if_any(row: Any) -> ApiKeyRecord | None:
    return ApiKeyRecord.from_row(row) if isinstance(row, dict) else None
