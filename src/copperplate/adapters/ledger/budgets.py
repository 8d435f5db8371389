"""Budgets, as operators set and read them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls, Json
from copperplate.ports.budgets import BudgetState, BudgetUse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from copperplate.budgets import Budget


class BudgetCalls(Calls):
    """`Budgets`."""

    async def read_budgets(self, budgets: Sequence[Budget]) -> Sequence[BudgetState]:
        """See `Budgets.read_budgets`."""
        arguments = {"p_budgets": Json([asdict(budget) for budget in budgets])}
        return [BudgetState.from_row(row) for row in await self._transport.value("read_budgets", arguments, list)]

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
