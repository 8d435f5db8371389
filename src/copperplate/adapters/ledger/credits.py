"""Credits and requests of signed-in people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.rows import credits_of
from copperplate.adapters.ledger.transport import Calls, Json
from copperplate.model import IdempotencyRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from copperplate.budgets import Credits


class CreditCalls(Calls):
    """`CreditLedger`."""

    async def credits(self, user: UUID) -> Credits:
        """See `CreditLedger.credits`."""
        return credits_of(await self._transport.value("get_credits", {"p_user": str(user)}, dict))

    async def grant_credits(self, user: UUID, amount: int, ref: str) -> Credits:
        """See `CreditLedger.grant_credits`."""
        arguments = {"p_user": str(user), "p_amount": amount, "p_ref": ref}
        return credits_of(await self._transport.value("grant_credits", arguments, dict))

    async def refund_credits(self, reservation: UUID) -> bool:
        """See `CreditLedger.refund_credits`."""
        return await self._transport.value("refund_credits", {"p_reservation": str(reservation)}, bool)

    async def audit_credits(self) -> Mapping[str, Any]:
        """See `CreditLedger.audit_credits`."""
        return await self._transport.value("audit_credits", {}, dict)

    async def begin_request(self, user: UUID, generation_key: str, idempotency_key: str | None) -> IdempotencyRecord:
        """See `CreditLedger.begin_request`."""
        arguments = {"p_user": str(user), "p_generation_key": generation_key, "p_idempotency_key": idempotency_key}
        row = await self._transport.value("begin_request", arguments, dict)
        return IdempotencyRecord(is_conflict=row["is_conflict"], answer=row["answer"])

    async def deliver(
        self, user: UUID, generation_key: str, answer: Mapping[str, Any], idempotency_key: str | None
    ) -> Mapping[str, Any]:
        """See `CreditLedger.deliver`."""
        arguments = {
            "p_user": str(user),
            "p_generation_key": generation_key,
            "p_answer": Json(dict(answer)),
            "p_idempotency_key": idempotency_key,
        }
        return await self._transport.value("deliver_generation", arguments, dict)

    async def is_requested_by(self, user: UUID, generation_key: str) -> bool:
        """See `CreditLedger.is_requested_by`."""
        arguments = {"p_user": str(user), "p_generation_key": generation_key}
        return await self._transport.value("is_requested_by", arguments, bool)

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`."""
        return await self._transport.value("forget_user", {"p_user": str(user)}, bool)
