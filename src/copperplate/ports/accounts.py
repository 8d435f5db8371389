"""Signed-in people: who they are, what they asked, and their credits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from copperplate.budgets import Credits
    from copperplate.model import IdempotencyRecord, User


class Verifier(Protocol):
    """Tells who a token is from."""

    async def verify(self, token: str) -> User:
        """The signed-in person whose token this is, signature, issuer, audience and times checked.

        Raises `Unauthorized`, in words that repeat nothing of the token; `KeysUnavailable`; `Misconfigured`.
        """

    async def close(self) -> None:
        """Let go of connections; a later call starts afresh."""


class CreditLedger(Protocol):
    """Credits of signed-in people, and what they asked. Every method may be repeated for the same answer."""

    async def credits(self, user: UUID) -> Credits:
        """The credits of a user; zero for one who was never granted any. Lapsed reservations are not held."""

    async def grant_credits(self, user: UUID, amount: int, ref: str) -> Credits:
        """Give `amount` credits, 1 to 10^9, once per `ref`.

        Refused where `ref` stands for another grant, or names the user: it is kept when they are forgotten.
        """

    async def refund_credits(self, reservation: UUID) -> bool:
        """Give back what a reservation took, once; False where its picture was delivered, or there is none."""

    async def audit_credits(self) -> Mapping[str, Any]:
        """Sums over all accounts, and `faults`: accounts whose sums do not agree."""

    async def begin_request(self, user: UUID, generation_key: str, idempotency_key: str | None) -> IdempotencyRecord:
        """Remember for a day that a user asks for a generation; what is known of the key, if one is given."""

    async def deliver(
        self, user: UUID, generation_key: str, answer: Mapping[str, Any], idempotency_key: str | None
    ) -> Mapping[str, Any]:
        """The user is about to get `answer`, which holds no address: nothing is refunded from here on.

        Answers it with the `credits` left, or what was answered first under the same key.
        """

    async def is_requested_by(self, user: UUID, generation_key: str) -> bool:
        """Whether this user asked for the generation, or paid for it."""

    async def forget_user(self, user: UUID) -> bool:
        """Take a user's name off everything; sums stay. False where nothing names them."""
