"""The rows and values of budgets in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from copperplate.budgets import PREPAID, Refusal, RefusalReason

# The day under which a budget counts that nothing resets.
NO_DAY: Final = date.min
_SOON: Final = timedelta(seconds=5)
# Somebody has to put something in, or to open it.
_UNTIL_SOMEBODY_ACTS: Final = timedelta(hours=1)


@dataclass(slots=True)
class BudgetRow:
    """One row of `copperplate.budgets`: what an operator set."""

    cap_micro_usd: int | None = None
    cap_pictures: int | None = None
    override_micro_usd: int | None = None
    override_pictures: int | None = None
    override_until: datetime | None = None

    def caps(self, now: datetime) -> tuple[int | None, int | None]:
        """Of money and of pictures: the override until its end, else what was set."""
        is_overridden = self.override_until is not None and self.override_until > now
        money = self.override_micro_usd if is_overridden else None
        pictures = self.override_pictures if is_overridden else None
        return (
            self.cap_micro_usd if money is None else money,
            self.cap_pictures if pictures is None else pictures,
        )


@dataclass(slots=True)
class Amount:
    """Money and pictures, as a counter has them."""

    micro_usd: int = 0
    pictures: int = 0

    def add(self, micro_usd: int, pictures: int) -> None:
        """Count so much more, or less where it is negative."""
        self.micro_usd += micro_usd
        self.pictures += pictures


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the leader of a generation reserved of its caller's own budgets: one picture."""

    day: date
    micro_usd: int
    budgets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """One of the budgets that a caller names, as it stands. Limits are caps with what resets added."""

    name: str
    day: date
    is_own: bool
    cap_micro_usd: int | None
    cap_pictures: int | None
    limit_micro_usd: int | None
    limit_pictures: int | None
    used_micro_usd: int
    used_pictures: int

    @property
    def is_closed(self) -> bool:
        """Whether a cap of zero refuses everything, whatever is reset."""
        return 0 in (self.cap_micro_usd, self.cap_pictures)

    @property
    def resets_at(self) -> datetime | None:
        """The midnight (UTC) that ends its day."""
        if self.day == NO_DAY:
            return None
        return datetime.combine(self.day + timedelta(days=1), time.min, UTC)

    @property
    def left_micro_usd(self) -> int | None:
        """Of money; None without a cap."""
        return _left(self.cap_micro_usd, self.limit_micro_usd, self.used_micro_usd)

    @property
    def left_pictures(self) -> int | None:
        """Of pictures; None without a cap."""
        return _left(self.cap_pictures, self.limit_pictures, self.used_pictures)

    def has_room(self, micro_usd: int, free: Amount) -> bool:
        """Whether one more picture of this price fits, were so much of what is used free."""
        return _fits(self.limit_micro_usd, self.used_micro_usd - free.micro_usd + micro_usd) and _fits(
            self.limit_pictures, self.used_pictures - free.pictures + 1
        )

    def permille(self, micro_usd: int) -> int:
        """Thousandths of the cap that are used with one more picture of this price."""
        return max(
            (self.used_micro_usd + micro_usd) * 1_000 // self.limit_micro_usd if self.limit_micro_usd else 0,
            (self.used_pictures + 1) * 1_000 // self.limit_pictures if self.limit_pictures else 0,
        )

    def refusal(self, reason: RefusalReason, free: Amount, now: datetime) -> Refusal:
        """What a caller is told whom it refuses."""
        # Midnight opens nothing that was closed.
        resets_at = None if self.is_closed else self.resets_at
        pause = _SOON
        if reason is RefusalReason.USED_UP:
            pause = _UNTIL_SOMEBODY_ACTS if resets_at is None else resets_at - now
        return Refusal(
            reason=reason,
            # An address is in no answer.
            budget="address" if self.name.startswith("address:") else self.name,
            retry_after=pause,
            cap_micro_usd=self.cap_micro_usd,
            left_micro_usd=_left(self.cap_micro_usd, self.limit_micro_usd, self.used_micro_usd - free.micro_usd),
            cap_pictures=self.cap_pictures,
            left_pictures=_left(self.cap_pictures, self.limit_pictures, self.used_pictures - free.pictures),
            resets_at=resets_at,
        )


def day_of(name: str, day: date) -> date:
    """The day under which a budget counts what is spent on `day`."""
    return NO_DAY if name.startswith(PREPAID) else day


def _left(cap: int | None, limit: int | None, used: int) -> int | None:
    return max(limit - used, 0) if cap and limit is not None else cap


def _fits(limit: int | None, used: int) -> bool:
    return limit is None or (limit > 0 and used <= limit)
