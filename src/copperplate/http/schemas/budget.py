"""What may be spent, as `/api/budget` answers it."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, Field

from copperplate.http.schemas.statistics import MICRO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.ports.budgets import BudgetState


class BudgetOut(BaseModel):
    """One budget of the day (UTC). Money in dollars, exact to a millionth; null where there is no cap."""

    budget: str = Field(
        description="`all`, `anonymous`, `address` (yours), or `user`, `key`, `link`, `provider` or `model` with a "
        "colon and which; after `prepaid/` one that is never reset",
        examples=["anonymous"],
    )
    used_usd: float = Field(description="Since the last reset, pictures under way included")
    cap_usd: float | None
    left_usd: float | None = Field(description="0: whatever has to be made is refused")
    used_pictures: int
    cap_pictures: int | None
    left_pictures: int | None
    resets_at: datetime | None = Field(description="The next midnight (UTC); null where nothing resets it")
    override_until: datetime | None = Field(description="Until when other caps stand, where an operator set some")

    @classmethod
    def of(cls, state: BudgetState) -> Self:
        """As the ledger tells it."""
        return cls(
            budget=state.budget,
            used_usd=state.used_micro_usd / MICRO,
            cap_usd=_dollars(state.cap_micro_usd),
            left_usd=_dollars(state.left_micro_usd),
            used_pictures=state.used_pictures,
            cap_pictures=state.cap_pictures,
            left_pictures=state.left_pictures,
            resets_at=state.resets_at,
            override_until=state.override_until,
        )


class BudgetAnswer(BaseModel):
    """What the caller's pictures are booked to: each budget needs room for one that has to be made."""

    success: bool
    access: str = Field(description="Who may have pictures made: `open`, `signed` or `keys`", examples=["open"])
    billable: bool = Field(description="False: no provider here costs money, and nothing is booked")
    budgets: list[BudgetOut] = Field(description="The caller's own and `all`; for a key of scope `admin` every one")

    @classmethod
    def of(cls, states: Iterable[BudgetState], *, access: str, is_billable: bool) -> Self:
        """The whole answer."""
        budgets = [BudgetOut.of(state) for state in states]
        return cls(success=True, access=access, billable=is_billable, budgets=budgets)


def _dollars(micro_usd: int | None) -> float | None:
    return None if micro_usd is None else micro_usd / MICRO
