"""What functions of the database take and answer about budgets, as values."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from copperplate.budgets import NearCap, Refusal, RefusalReason, Refused, SubmitGranted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.budgets import Budget, Spending, SubmitResult


def spending_row(spending: Spending) -> dict[str, Any]:
    """`p_spending` of `acquire_generation` and `begin_submit`."""
    return {
        "amount_micro_usd": spending.amount_micro_usd,
        "max_in_flight": spending.max_in_flight,
        "budgets": [budget_row(budget) for budget in spending.budgets],
    }


def budget_row(budget: Budget) -> dict[str, Any]:
    """One of them. Member by member: `asdict` copies deeply, a tenth of what a refused miss costs a server."""
    return {
        "name": budget.name,
        "cap_micro_usd": budget.cap_micro_usd,
        "cap_pictures": budget.cap_pictures,
        "share_of": budget.share_of,
        "permille": budget.permille,
        "is_own": budget.is_own,
    }


def submit_result_of(row: Mapping[str, Any]) -> SubmitResult:
    """The ledger's answer to `begin_submit`."""
    match row["outcome"]:
        case "lead":
            return SubmitGranted(near_caps=tuple(NearCap(**near) for near in row["near_caps"] or ()))
        case "refused":
            return refused_of(row)
        case _:
            return None


def refused_of(row: Mapping[str, Any]) -> Refused:
    """A refusal by a budget."""
    columns = dict(row["refusal"])
    retry_after_ms, resets_at = columns.pop("retry_after_ms"), columns.pop("resets_at")
    return Refused(
        refusal=Refusal(
            **{**columns, "reason": RefusalReason(columns["reason"])},
            retry_after=timedelta(milliseconds=retry_after_ms),
            resets_at=None if resets_at is None else datetime.fromisoformat(resets_at),
        )
    )
