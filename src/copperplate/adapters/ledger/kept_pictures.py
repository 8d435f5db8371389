"""Kept pictures by their names, and their placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.ledger.rows import placeholder_row, stored_entry
from copperplate.adapters.ledger.transport import Calls
from copperplate.ports.kept_pictures import KeptPicture, KeptPictureInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.model import Entry, Placeholder


class KeptPictureCalls(Calls):
    """`KeptPictures`."""

    async def find_kept(self, name: str) -> KeptPicture | None:
        """See `KeptPictures.find_kept`."""
        rows = await self._transport.rows("find_kept", {"p_id": name})
        return KeptPicture.from_row(rows[0]) if rows else None

    async def describe_kept(self, generation_key: str) -> KeptPictureInfo | None:
        """See `KeptPictures.describe_kept`."""
        row = await self._transport.value("describe_kept", {"p_generation_key": generation_key}, object)
        return KeptPictureInfo.from_row(row) if isinstance(row, dict) else None

    async def originals_without_placeholder(self, limit: int, *, after: str = "") -> Sequence[Entry]:
        """See `KeptPictures.originals_without_placeholder`."""
        arguments = {"p_limit": min(limit, self._transport.max_rows), "p_after": after}
        return [stored_entry(row) for row in await self._transport.rows("originals_without_placeholder", arguments)]

    async def set_placeholder(self, generation_key: str, placeholder: Placeholder) -> bool:
        """See `KeptPictures.set_placeholder`."""
        columns = {f"p_{name}": value for name, value in placeholder_row(placeholder).items()}
        return await self._transport.value("set_placeholder", {"p_generation_key": generation_key, **columns}, bool)
