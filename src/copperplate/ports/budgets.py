"""Budgets as operators and callers see them: caps, what is used of them, what is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.budgets import Budget

# What a cap may be, in millionths of a dollar or in pictures: a billion dollars.
MAX_CAP = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What one budget allows a UTC day, and what is used of it since it was last reset.

    `budget` is its name, `address` for any address. Money is in millionths of a dollar. A cap of None is none, and
    so is what is left of it. `resets_at` is None for a prepaid budget. An override stands until `override_until`.
    """

    budget: str
    used_micro_usd: int
    used_pictures: int
    cap_micro_usd: int | None = None
    left_micro_usd: int | None = None
    cap_pictures: int | None = None
    left_pictures: int | None = None
    resets_at: datetime | None = None
    override_until: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> BudgetState:
        """One element of the answer of `read_budgets`."""
        return cls(
            budget=row["budget"],
            # A bill below its booking that comes after a reset gives back more than was used since.
            used_micro_usd=max(0, row["used_micro_usd"]),
            used_pictures=max(0, row["used_pictures"]),
            cap_micro_usd=row["cap_micro_usd"],
            left_micro_usd=row["left_micro_usd"],
            cap_pictures=row["cap_pictures"],
            left_pictures=row["left_pictures"],
            resets_at=_time(row["resets_at"]),
            override_until=_time(row["override_until"]),
        )

    @property
    def permille(self) -> int | None:
        """How much of its caps is used, by the one that is nearer; None without a cap."""
        parts = [
            used * 1_000 // cap if cap else 1_000
            for used, cap in (
                (self.used_micro_usd, self.cap_micro_usd),
                (self.used_pictures, self.cap_pictures),
            )
            if cap is not None
        ]
        return max(parts, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """What is used of one budget today, or of all addresses (`address:*`), or of users without a cap (`user:*`)."""

    budget: str
    used_micro_usd: int
    used_pictures: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> BudgetUse:
        """One element of the answer of `list_budgets`."""
        return cls(
            budget=row["budget"],
            used_micro_usd=max(0, row["used_micro_usd"]),
            used_pictures=max(0, row["used_pictures"]),
        )

    @property
    def is_sum(self) -> bool:
        """Whether it is of many."""
        return self.budget.endswith(":*")


class Budgets(Protocol):
    """What operators set and read of budgets.

    Caps are from 0, which refuses everything, to `MAX_CAP`. Names are those of `copperplate.budgets.Budget`, with
    `prepaid/` before one for a cap beside the daily one that nothing resets. An address has a share and no cap of its
    own: its name is refused, as one of no known form is. What is under way goes on; the next election sees the change.
    """

    async def read_budgets(self, budgets: Sequence[Budget]) -> Sequence[BudgetState]:
        """The state of these, in this order, each with the prepaid one beside it. A share needs its whole beside it."""

    async def list_budgets(self) -> Sequence[BudgetUse]:
        """All that have caps here or were used today. Addresses, and users without a cap of their own, are one each."""

    async def set_budget(self, name: str, cap_micro_usd: int | None, cap_pictures: int | None) -> BudgetState:
        """Set both caps above those that programs send; with None what they send stands.

        A visible key without a cap spends nothing.

        A prepaid budget without a cap is over. Set again, it goes on from what was spent.
        """

    async def override_budget(
        self, name: str, cap_micro_usd: int | None, cap_pictures: int | None, until: datetime | None
    ) -> BudgetState:
        """Let other caps stand until then, a time in the future; three None end an override now."""

    async def reset_budget(self, name: str) -> BudgetState:
        """Begin the day anew: the caps apply to what is under way and to what is booked from now on.

        What was booked stays in the book.
        """

    async def audit_budgets(self) -> Mapping[str, Any]:
        """How many `counters` there are, and `faults`: those that are not the sum of bookings and reservations."""


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
