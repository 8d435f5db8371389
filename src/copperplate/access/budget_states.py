"""The state of budgets, in the ledger, under the caps that the settings of this program give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.access import shares
from copperplate.budgets import PREPAID
from copperplate.ports.budgets import BudgetState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.ports.budgets import Budgets
    from copperplate.settings import Settings


async def read_named(ledger: Budgets, settings: Settings, name: str) -> Sequence[BudgetState]:
    """A budget, and the prepaid one beside it where there is one; of a prepaid one itself alone."""
    asked = {name, f"{PREPAID}{name}"}
    states = await ledger.read_budgets(shares.named(settings, [name]))
    return [state for state in states if state.budget in asked]


async def read_all(ledger: Budgets, settings: Settings) -> Sequence[BudgetState]:
    """All with caps, or used today: the wall first, then the unknown's share, then the others, then sums of many.

    No address is among them, and no user without a cap of their own.
    """
    uses = await ledger.list_budgets()
    names = [use.budget for use in uses if not use.is_sum]
    states = await ledger.read_budgets(shares.named(settings, names))
    sums = (
        BudgetState(
            budget=use.budget,
            used_micro_usd=use.used_micro_usd,
            used_pictures=use.used_pictures,
            resets_at=states[0].resets_at,
        )
        for use in uses
        if use.is_sum
    )
    return [*states, *sums]
