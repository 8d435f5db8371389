"""Values of spending: charges, credits, budgets, what a miss books to them, and a refusal. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

# The budget that every submit is booked to: the wall.
WALL: Final = "all"
# What callers share whom nobody knows.
ANONYMOUS: Final = "anonymous"
# Who pays for what the owner's own tools have made.
OWNER: Final = "owner"
# Before the name of a cap that nothing resets.
PREPAID: Final = "prepaid/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a new leader pays with: `credits` of a user's account, reserved together with the lease."""

    user: UUID
    credits: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """What a user has, in credits: `held` of `balance` is reserved by generations under way."""

    balance: int
    held: int

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.balance - self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit of spending for one UTC day, by its name, as the program sends it to the ledger.

    Names: `all`, `anonymous`, `address:IP`, `user:UUID`, `key:UUID`, `link:ID`, `provider:NAME`,
    `model:PROVIDER/MODEL`. What the operator set in the ledger counts before `cap_micro_usd` (millionths of a dollar)
    and `cap_pictures`. Where neither says anything, the cap in money is `permille` thousandths of the cap of
    `share_of`, if that has one.
    """

    name: str
    cap_micro_usd: int | None = None
    cap_pictures: int | None = None
    share_of: str | None = None
    permille: int | None = None
    # Of the caller: reserved with the lead. The house's own are booked by each submit.
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one submit books, in millionths of a dollar, and where: the caller's own budgets first, the wall last.

    `payer` names whose spending it is. `max_in_flight` bounds the live leases of the caller's first own budget; None:
    no bound.
    """

    payer: str
    amount_micro_usd: int
    budgets: tuple[Budget, ...]
    max_in_flight: int | None = None


class RefusalReason(StrEnum):
    """Why a budget refuses."""

    USED_UP = "used_up"  # spent until it is reset
    IN_FLIGHT = "in_flight"  # pictures under way hold what is left
    TOO_MANY = "too_many"  # the caller has too many pictures under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Which budget refuses a miss, what is left of it, and when to ask again.

    `budget` is its name, `address` for any address. Caps are None where there is none; `resets_at` is aware UTC, None
    for a prepaid budget and for a cap of zero, which nothing resets.
    """

    reason: RefusalReason
    budget: str
    retry_after: timedelta
    cap_micro_usd: int | None = None
    left_micro_usd: int | None = None
    cap_pictures: int | None = None
    left_pictures: int | None = None
    resets_at: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Whether a cap of zero refuses everything, whatever is used."""
        return 0 in (self.cap_micro_usd, self.cap_pictures)

    @property
    def is_of_house(self) -> bool:
        """Whether the budget refuses every caller, and not the payer alone."""
        name = self.budget.removeprefix(PREPAID)
        return name == WALL or name.startswith(("provider:", "model:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The ledger's answer where a budget has no room: nothing was inserted, or all of it was given back."""

    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class NearCap:
    """A budget of which a submit used at least 800 thousandths."""

    budget: str
    permille: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitGranted:
    """The ledger recorded a submit that is about to be sent, and booked it to every budget."""

    near_caps: tuple[NearCap, ...] = ()


# None: the fence is stale, or there is a job to collect.
SubmitResult = SubmitGranted | Refused | None
