"""What operators set and read of budgets in memory."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.budget_states import NO_DAY, Amount, BudgetRow
from copperplate.adapters.memory.tables import MemoryTables
from copperplate.budgets import Budget
from copperplate.errors import LedgerUnavailable
from copperplate.ports.budgets import MAX_CAP, BudgetState, BudgetUse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from copperplate.adapters.memory.budget_states import BudgetState as Standing

# As `copperplate.check_budget_name` has it: an address has a share, and no cap of its own.
_NAME: Final = re.compile(r"(prepaid/)?(all|anonymous|(user|key|link|provider|model):\S{1,200})")


class MemoryBudgetOperations(MemoryTables):
    """`Budgets` over the tables in memory."""

    async def read_budgets(self, budgets: Sequence[Budget]) -> Sequence[BudgetState]:
        """See `Budgets.read_budgets`."""
        return [self._as_told(state) for state in self._budget_states(budgets)]

    async def list_budgets(self) -> Sequence[BudgetUse]:
        """See `Budgets.list_budgets`."""
        today = self._clock.now().date()
        # Of a prepaid one that was taken off only the counter is left.
        used = {name for name, day in self._usage if day == today or (day == NO_DAY and name in self._budgets)}
        sums = defaultdict[str, Amount](Amount)
        for name in sorted(used | self._budgets.keys()):
            state = self._as_told(self._budget_states([Budget(name=name)])[0])
            is_summed = name.startswith(("address:", "user:")) and name not in self._budgets
            sums[f"{name.partition(':')[0]}:*" if is_summed else name].add(state.used_micro_usd, state.used_pictures)
        return [
            BudgetUse(budget=name, used_micro_usd=amount.micro_usd, used_pictures=amount.pictures)
            for name, amount in sums.items()
        ]

    async def set_budget(self, name: str, cap_micro_usd: int | None, cap_pictures: int | None) -> BudgetState:
        """See `Budgets.set_budget`."""
        _check_name(name)
        _check_caps(cap_micro_usd, cap_pictures)
        row = self._budgets.setdefault(name, BudgetRow())
        if cap_micro_usd is None and cap_pictures is None and self._is_visible_key(name):
            cap_micro_usd = cap_pictures = 0
        row.cap_micro_usd, row.cap_pictures = cap_micro_usd, cap_pictures
        self._drop_unset_budgets()
        return await self._read_one(name)

    async def override_budget(
        self, name: str, cap_micro_usd: int | None, cap_pictures: int | None, until: datetime | None
    ) -> BudgetState:
        """See `Budgets.override_budget`."""
        _check_name(name)
        _check_caps(cap_micro_usd, cap_pictures)
        has_caps = cap_micro_usd is not None or cap_pictures is not None
        if has_caps is not (until is not None and until > self._clock.now()) or (until is not None) is not has_caps:
            raise LedgerUnavailable("not an override")
        row = self._budgets.setdefault(name, BudgetRow())
        row.override_micro_usd, row.override_pictures, row.override_until = cap_micro_usd, cap_pictures, until
        self._drop_unset_budgets()
        return await self._read_one(name)

    async def reset_budget(self, name: str) -> BudgetState:
        """See `Budgets.reset_budget`."""
        _check_name(name)
        [state] = [state for state in self._budget_states([Budget(name=name)]) if state.name == name]
        self._resets[name, state.day] = self._settled(name, state.day)
        return await self._read_one(name)

    async def _read_one(self, name: str) -> BudgetState:
        return (await self.read_budgets([Budget(name=name)]))[0]

    def _as_told(self, state: Standing) -> BudgetState:
        lapsed, _ = self._unsettled(state, None)
        reset = self._resets.get((state.name, state.day), Amount())
        used, pictures = state.used_micro_usd - lapsed.micro_usd, state.used_pictures - lapsed.pictures
        row = self._budgets.get(state.name, BudgetRow())
        is_overridden = row.override_until is not None and row.override_until > self._clock.now()
        return BudgetState(
            budget="address" if state.name.startswith("address:") else state.name,
            used_micro_usd=max(0, used - reset.micro_usd),
            used_pictures=max(0, pictures - reset.pictures),
            cap_micro_usd=state.cap_micro_usd,
            left_micro_usd=_left(state.limit_micro_usd, used),
            cap_pictures=state.cap_pictures,
            left_pictures=_left(state.limit_pictures, pictures),
            resets_at=state.resets_at,
            override_until=row.override_until if is_overridden else None,
        )


def _left(limit: int | None, used: int) -> int | None:
    return limit if limit is None or limit == 0 else max(limit - used, 0)


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise LedgerUnavailable("not the name of a budget")


def _check_caps(*caps: int | None) -> None:
    if any(cap is not None and not 0 <= cap <= MAX_CAP for cap in caps):
        raise LedgerUnavailable("not a cap")
