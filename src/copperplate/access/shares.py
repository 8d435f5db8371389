"""Budgets as the settings make them: the wall, and whose share of it is how much. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.budgets import ANONYMOUS, PREPAID, WALL, Budget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.settings import Settings

# Shares of another budget's cap, in thousandths.
ANONYMOUS_PERMILLE: Final = 500
ADDRESS_PERMILLE: Final = 100
USER_PERMILLE: Final = 100


def wall(settings: Settings) -> Budget:
    """What everything together may cost."""
    return Budget(name=WALL, cap_micro_usd=settings.daily_budget, cap_pictures=settings.daily_budget_pictures)


def anonymous(settings: Settings) -> Budget:
    """What callers whom nobody knows share."""
    return Budget(
        name=ANONYMOUS,
        cap_micro_usd=settings.anonymous_budget,
        cap_pictures=settings.anonymous_budget_pictures,
        share_of=WALL,
        permille=ANONYMOUS_PERMILLE,
        is_own=True,
    )


def of_address(address: str) -> Budget:
    """One address's share of what the unknown have."""
    return Budget(name=f"address:{address}", share_of=ANONYMOUS, permille=ADDRESS_PERMILLE, is_own=True)


def of_user(settings: Settings, user: object) -> Budget:
    """One signed-in user's, by their id."""
    return Budget(
        name=f"user:{user}",
        cap_micro_usd=settings.user_budget,
        share_of=WALL,
        permille=USER_PERMILLE,
        is_own=True,
    )


def named(settings: Settings, names: Iterable[str]) -> tuple[Budget, ...]:
    """Budgets by name, and the wall and the unknown's, which others are shares of; those with prepaid caps once."""
    budgets = [wall(settings), anonymous(settings)]
    for name in dict.fromkeys(name.removeprefix(PREPAID) for name in names):
        if name.startswith("user:"):
            budgets.append(of_user(settings, name.removeprefix("user:")))
        elif name not in (WALL, ANONYMOUS):
            budgets.append(Budget(name=name))
    return tuple(budgets)
