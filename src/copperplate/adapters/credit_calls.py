"""Credits over a ledger in SQL: the same functions, whichever way they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from copperplate.model import Ask, Credits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

CreditFunction = Literal[
    "get_credits",
    "grant_credits",
    "refund_credits",
    "audit_credits",
    "begin_ask",
    "deliver_generation",
    "is_asked_by",
    "forget_user",
]


class _Calls(Protocol):
    async def _call_function(self, function: CreditFunction, arguments: Mapping[str, Any]) -> Any:
        """What the function of schema public answers, as JSON."""


class CreditCalls:
    """`CreditLedger`, for a ledger that can call a function by name."""

    async def credits(self: _Calls, user: UUID) -> Credits:
        """See `CreditLedger.credits`."""
        return _credits(await self._call_function("get_credits", {"p_user": str(user)}))

    async def grant_credits(self: _Calls, user: UUID, amount: int, ref: str) -> Credits:
        """See `CreditLedger.grant_credits`."""
        arguments = {"p_user": str(user), "p_amount": amount, "p_ref": ref}
        return _credits(await self._call_function("grant_credits", arguments))

    async def refund_credits(self: _Calls, reservation: UUID) -> bool:
        """See `CreditLedger.refund_credits`."""
        return bool(await self._call_function("refund_credits", {"p_reservation": str(reservation)}))

    async def audit_credits(self: _Calls) -> Mapping[str, Any]:
        """See `CreditLedger.audit_credits`."""
        audit: Mapping[str, Any] = await self._call_function("audit_credits", {})
        return audit

    async def begin_ask(self: _Calls, user: UUID, generation_key: str, idempotency_key: str | None) -> Ask:
        """See `CreditLedger.begin_ask`."""
        arguments = {"p_user": str(user), "p_generation_key": generation_key, "p_idempotency_key": idempotency_key}
        row = await self._call_function("begin_ask", arguments)
        return Ask(is_conflict=row["is_conflict"], answer=row["answer"])

    async def deliver(
        self: _Calls, user: UUID, generation_key: str, answer: Mapping[str, Any], idempotency_key: str | None
    ) -> Mapping[str, Any]:
        """See `CreditLedger.deliver`."""
        arguments = {
            "p_user": str(user),
            "p_generation_key": generation_key,
            "p_answer": dict(answer),
            "p_idempotency_key": idempotency_key,
        }
        delivered: Mapping[str, Any] = await self._call_function("deliver_generation", arguments)
        return delivered

    async def is_asked_by(self: _Calls, user: UUID, generation_key: str) -> bool:
        """See `CreditLedger.is_asked_by`."""
        arguments = {"p_user": str(user), "p_generation_key": generation_key}
        return bool(await self._call_function("is_asked_by", arguments))

    async def forget_user(self: _Calls, user: UUID) -> bool:
        """See `CreditLedger.forget_user`."""
        return bool(await self._call_function("forget_user", {"p_user": str(user)}))


def _credits(row: Mapping[str, Any]) -> Credits:
    return Credits(balance=row["balance"], held=row["held"])
