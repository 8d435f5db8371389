"""What functions of the database take and answer about wishes, as values."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from copperplate.adapters.ledger.budget_rows import spending_row
from copperplate.adapters.ledger.rows import stored_entry
from copperplate.budgets import Budget, Charge, Spending
from copperplate.failure_classes import FailureClass
from copperplate.wishes import Batch, Canceled, GenerationState, Member, Purpose, State, Wish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.wishes import NewWish


def wish_row(wish: NewWish) -> dict[str, Any]:
    """`p_wish` of `make_wish`, and one of the wishes of `create_batch`, which reads no owner there."""
    return {
        "generation_key": wish.generation_key,
        "recipe": dict(wish.recipe),
        "owner": wish.owner,
        "spending": None if wish.spending is None else {"payer": wish.spending.payer, **spending_row(wish.spending)},
        "charge_user": None if wish.charge is None else str(wish.charge.user),
        "charge_credits": None if wish.charge is None else wish.charge.credits,
        "priority": int(wish.priority),
        "paths": list(wish.paths),
        "echo": dict(wish.echo),
    }


def wish_of(row: Mapping[str, Any]) -> Wish:
    """One of the answers of `take_wishes`."""
    return Wish(
        id=row["id"],
        generation_key=row["generation_key"],
        recipe=row["recipe"],
        owner=row["owner"],
        spending=_spending_of(row["spending"]) if row["spending"] else None,
        charge=Charge(user=UUID(row["charge_user"]), credits=row["charge_credits"]) if row["charge_user"] else None,
        tries=row["tries"],
        paths=tuple(row["paths"]),
    )


def batch_of(row: Mapping[str, Any]) -> Batch:
    """The answer of `find_batch`."""
    return Batch(
        id=UUID(row["id"]),
        owner=row["owner"],
        purpose=Purpose(row["purpose"]),
        thread_id=row["thread_id"],
        created_at=datetime.fromisoformat(row["created_at"]),
        canceled_at=_time_of(row["canceled_at"]),
        counts={state: row["counts"].get(state.value, 0) for state in State},
        cached=row["cached"],
        estimate_micro_usd=row["estimate_micro_usd"],
        is_private=row["is_private"],
        is_led=row["is_led"],
    )


def member_of(row: Mapping[str, Any]) -> Member:
    """One of the answers of `list_members`."""
    return Member(
        wish=row["wish"],
        position=row["position"],
        generation_key=row["generation_key"],
        kind=row["kind"],
        state=State(row["state"]),
        cached=row["cached"],
        code=row["code"],
        paths=tuple(row["paths"]),
        echo=row["echo"],
    )


def canceled_of(row: Mapping[str, Any]) -> Canceled:
    """The answer of `cancel_batch`."""
    return Canceled(withdrawn=row["withdrawn"], under_way=row["under_way"], saved_micro_usd=row["saved_micro_usd"])


def state_of(row: Mapping[str, Any]) -> GenerationState:
    """The answer of `get_generation_state`."""
    return GenerationState(
        generation_key=row["generation_key"],
        kind=row["kind"],
        state=State(row["state"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        started_at=_time_of(row["started_at"]),
        failure_class=FailureClass(row["error_class"]) if row["error_class"] else None,
        retry_after=timedelta(milliseconds=row["retry_after_ms"]),
        entry=stored_entry(row["entry"]) if row["entry"] else None,
        is_led=row["is_led"],
        usual_seconds=None if row["usual_ms"] is None else row["usual_ms"] / 1000,
    )


def _time_of(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _spending_of(row: Mapping[str, Any]) -> Spending:
    return Spending(
        payer=row["payer"],
        amount_micro_usd=row["amount_micro_usd"],
        budgets=tuple(Budget(**budget) for budget in row["budgets"]),
        max_in_flight=row["max_in_flight"],
    )
