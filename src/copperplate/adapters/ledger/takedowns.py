"""What is taken down or pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.ledger.transport import Calls
from copperplate.ports.takedowns import Pin, Takedown

if TYPE_CHECKING:
    from typing import LiteralString


class TakedownCalls(Calls):
    """`Takedowns`."""

    async def take_down(self, key: str, *, reason: str | None = None) -> Takedown:
        """See `Takedowns.take_down`."""
        arguments = {"p_key": key, "p_reason": reason}
        return Takedown.from_row(await self._transport.value("take_down", arguments, dict))

    async def lift_takedown(self, key: str) -> bool:
        """See `Takedowns.lift_takedown`."""
        return await self._transport.value("lift_takedown", {"p_key": key}, bool)

    async def pin(self, key: str) -> Pin | None:
        """See `Takedowns.pin`."""
        return await self._set_pin("pin_picture", key)

    async def unpin(self, key: str) -> Pin | None:
        """See `Takedowns.unpin`."""
        return await self._set_pin("unpin_picture", key)

    async def _set_pin(self, function: LiteralString, key: str) -> Pin | None:
        row = await self._transport.value(function, {"p_key": key}, object)
        return Pin.from_row(row) if isinstance(row, dict) else None
