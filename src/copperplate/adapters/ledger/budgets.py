"""Budgets, as operators set and read them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls, Json
from copperplate.budgets import PREPAID
from copperplate.ports.budgets import BudgetState, BudgetUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from copperplate.budgets import Budget


class BudgetCalls(Calls):
    """`Budgets`."""

    async def read_budgets(self, budgets: Sequence[Budget]) -> Sequence[BudgetState]:
        """See `Budgets.read_budgets`."""
        # The ledger knows the cap of a whole only where it comes after its shares.
        places = sorted(range(len(budgets)), key=lambda place: _depth(budgets[place], budgets), reverse=True)
        arguments = {"p_budgets": Json([asdict(budgets[place]) for place in places])}
        rows = await self._transport.value("read_budgets", arguments, list)
        groups = dict(zip(places, _grouped([BudgetState.from_row(row) for row in rows], len(places)), strict=True))
        return [state for place in range(len(budgets)) for state in groups[place]]

    async def list_budgets(self) -> Sequence[BudgetUse]:
        """See `Budgets.list_budgets`."""
        return [BudgetUse.from_row(row) for row in await self._transport.value("list_budgets", {}, list)]

    async def set_budget(self, name: str, cap_micro_usd: int | None, cap_pictures: int | None) -> BudgetState:
        """See `Budgets.set_budget`."""
        arguments = {"p_name": name, "p_cap_micro_usd": cap_micro_usd, "p_cap_pictures": cap_pictures}
        return BudgetState.from_row(await self._transport.value("set_budget", arguments, dict))

    async def override_budget(
        self, name: str, cap_micro_usd: int | None, cap_pictures: int | None, until: datetime | None
    ) -> BudgetState:
        """See `Budgets.override_budget`."""
        arguments = {
            "p_name": name,
            "p_cap_micro_usd": cap_micro_usd,
            "p_cap_pictures": cap_pictures,
            "p_until": until,
        }
        return BudgetState.from_row(await self._transport.value("override_budget", arguments, dict))

    async def reset_budget(self, name: str) -> BudgetState:
        """See `Budgets.reset_budget`."""
        return BudgetState.from_row(await self._transport.value("reset_budget", {"p_name": name}, dict))

    async def audit_budgets(self) -> Mapping[str, Any]:
        """See `Budgets.audit_budgets`."""
        return await self._transport.value("audit_budgets", {}, dict)


def _depth(budget: Budget, budgets: Sequence[Budget]) -> int:
    """How many of these it is a share of, one within the other."""
    whole = next((other for other in budgets if other.name == budget.share_of), None)
    return 0 if whole is None else 1 + _depth(whole, budgets)


def _grouped(states: Sequence[BudgetState], count: int) -> Iterator[Sequence[BudgetState]]:
    """The states by budget asked for: each, and the prepaid one that comes after it where there is one."""
    rest = list(states)
    for left in range(count, 0, -1):
        state = rest.pop(0)
        has_prepaid = len(rest) >= left and rest[0].budget == f"{PREPAID}{state.budget}"
        yield [state, rest.pop(0)] if has_prepaid else [state]
