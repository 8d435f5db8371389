"""Values of wishes: what somebody was promised and need not wait for, one or many at once. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from copperplate.budgets import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from copperplate.budgets import Charge, Spending
    from copperplate.failure_classes import FailureClass
    from copperplate.model import CanonicalValue, Entry

# Forms of one picture that a wish remembers.
MAX_PATHS: Final = 64


def joined_paths(first: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """The forms that two askers of one generation want, each once, `MAX_PATHS` at most."""
    return tuple(dict.fromkeys((*first, *more)))[:MAX_PATHS]


# Of one caller, but for the owner of the service; the functions of the database have it too.
MAX_OPEN_WISHES: Final = 10_000


class Priority(IntEnum):
    """Which wishes the work step takes first: the smaller number."""

    USUAL = 2
    LOW = 3  # batches and warming, unless they say otherwise


class Purpose(StrEnum):
    """What a batch is for."""

    BATCH = "batch"
    WARM = "warm"


class WishStatus(StrEnum):
    """What became of a wish."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class State(StrEnum):
    """The state of a generation or of a batch's member, as callers are told it."""

    PENDING = "pending"  # nothing was sent to a provider
    GENERATING = "generating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"  # of members alone

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more unless somebody asks anew."""
        return self in (State.COMPLETED, State.FAILED, State.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWish:
    """One generation that is to be made although nobody may wait for it.

    `spending` holds no budget of an address: what is kept names no address. `owner` is who asked, as budgets name
    payers (`user:UUID`, `key:UUID`, `link:ID`, `owner`, `anonymous`). `paths` are path and query of every form asked
    for, the first one first. `echo` is what the caller sent to be told again.
    """

    generation_key: str
    recipe: Mapping[str, CanonicalValue] = field(repr=False)  # holds the prompt
    owner: str
    spending: Spending | None = None
    charge: Charge | None = None
    priority: Priority = Priority.USUAL
    paths: tuple[str, ...] = ()
    echo: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_of_stranger(self) -> bool:
        """Whether it lost the budget of an address: no budget of its own bounds what one caller is promised."""
        return _is_of_stranger(self.owner, self.spending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A wish that this process took, to be settled by it.

    `tries` counts how often it was taken, this time included. `paths` are those of `NewWish`.
    """

    id: int
    generation_key: str
    recipe: Mapping[str, CanonicalValue] = field(repr=False)
    owner: str
    spending: Spending | None
    charge: Charge | None
    tries: int
    paths: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_of_stranger(self) -> bool:
        """Whether it lost the budget of an address: no budget of its own bounds what one caller is promised."""
        return _is_of_stranger(self.owner, self.spending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How a wish that was taken ends: `status`, and for a failure the `code` that callers are told.

    `OPEN` puts it back: it is due again after `retry_after`.
    """

    status: WishStatus
    code: str | None = None
    retry_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """Many wishes at once, no generation twice.

    With an `idempotency_key`, `digest` is the SHA-256 of what was asked.
    """

    owner: str
    wishes: tuple[NewWish, ...]
    purpose: Purpose = Purpose.BATCH
    idempotency_key: str | None = None
    digest: str = ""
    thread_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as it is now.

    `counts` has every state; a canceled batch may have members that go on, since they are paid.
    `estimate_micro_usd` is what its members that were not stored when it began cost at most, None where a price is not
    known. `is_private`: it has members that are told to its owner alone. `is_led`: somebody is at work on a member.
    """

    id: UUID
    owner: str
    purpose: Purpose
    thread_id: str | None
    created_at: datetime
    canceled_at: datetime | None
    counts: Mapping[State, int]
    cached: int
    estimate_micro_usd: int | None
    is_private: bool
    is_led: bool = False

    @property
    def total(self) -> int:
        """How many members it has."""
        return sum(self.counts.values())

    @property
    def is_final(self) -> bool:
        """Whether every member has ended."""
        return all(state.is_final or not number for state, number in self.counts.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a batch. `wish` is what `settle_wish` takes.

    `position` counts from 0; `code` says why it failed; `cached`: it was stored before the batch.
    """

    wish: int
    position: int
    generation_key: str
    kind: str
    state: State
    cached: bool
    code: str | None
    paths: tuple[str, ...]
    echo: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled:
    """What canceling a batch changed: how many members were withdrawn, how many go on, and what that saved.

    `saved_micro_usd` counts withdrawn members that nobody else has asked for, at the price they were booked at.
    """

    withdrawn: int
    under_way: int
    saved_micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationState:
    """A generation as callers are told of it. Times are aware UTC; `entry` is the original's once it is completed.

    `is_led`: somebody is at work on it, by a live lease or by holding a wish for it. `usual_seconds` is the median of
    this model's last pictures, an estimate, None where there is none yet or it was not asked for.
    """

    generation_key: str
    kind: str
    state: State
    created_at: datetime
    started_at: datetime | None = None
    failure_class: FailureClass | None = None
    retry_after: timedelta = timedelta(0)
    entry: Entry | None = None
    is_led: bool = False
    usual_seconds: float | None = None


def _is_of_stranger(owner: str, spending: Spending | None) -> bool:
    # Whoever signed in without a name is bounded as a stranger is: by their address, whoever they say they are.
    budgets = () if spending is None else spending.budgets
    return owner == ANONYMOUS or any(budget.name == ANONYMOUS for budget in budgets)
