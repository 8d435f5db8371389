"""Permits for tests: outside of them the gate alone makes any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.generation.lookup import Permit

if TYPE_CHECKING:
    from copperplate.budgets import Spending
    from copperplate.errors import CopperplateError


def permit(spending: Spending | None = None, *, denial: CopperplateError | None = None) -> Permit:
    """The right to cause a miss that is booked like this, or a denial."""
    return Permit(spending=spending, denial=denial)
