"""Caps that allow nothing, caps that no server takes, and days that end while a picture is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from tests.support.bad_callers import Ask, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

DOLLARS: Final = ("COPPERPLATE_DAILY_BUDGET_USD", "COPPERPLATE_ANONYMOUS_BUDGET_USD", "COPPERPLATE_USER_BUDGET_USD")
PICTURES: Final = ("COPPERPLATE_DAILY_BUDGET_PICTURES", "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES")
# A picture costs 0.003 dollars.
TOO_LITTLE: Final = {
    "no dollar": {"COPPERPLATE_DAILY_BUDGET_USD": "0"},
    "0.000000 dollars": {"COPPERPLATE_DAILY_BUDGET_USD": "0.000000"},
    "a millionth of a dollar": {"COPPERPLATE_DAILY_BUDGET_USD": "0.000001"},
    "a millionth too little": {"COPPERPLATE_DAILY_BUDGET_USD": "0.002999", "COPPERPLATE_ANONYMOUS_BUDGET_USD": "1"},
    "no picture": {"COPPERPLATE_DAILY_BUDGET_PICTURES": "0"},
    "nothing for strangers": {"COPPERPLATE_ANONYMOUS_BUDGET_USD": "0"},
    "no picture for strangers": {"COPPERPLATE_ANONYMOUS_BUDGET_PICTURES": "0"},
    "no picture for strangers, no wall": {
        "COPPERPLATE_DAILY_BUDGET_USD": "off",
        "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES": "0",
    },
    "no picture, no wall": {"COPPERPLATE_DAILY_BUDGET_USD": "off", "COPPERPLATE_DAILY_BUDGET_PICTURES": "0"},
    "a tenth that is too little": {"COPPERPLATE_ANONYMOUS_BUDGET_USD": "0.029999"},
    "half of a tenth that is too little": {"COPPERPLATE_DAILY_BUDGET_USD": "0.059999"},
}
NO_CAPS: Final = (
    *("-1", "-0", "+5", "5,00", "$5", "5 USD", "1e3", "1e30", "inf", "nan", "0x10", "1_000", ".5", "5.", "0.0000001"),
    *("1000000000", "9223372036854775807", "9223372036854.775808", "18446744073709551616", "9" * 5_000),
    *("\u0665", "\uff15", "none", "null", "unlimited", "OFF", "True", "5;10", "5\u00a0", "5.00.00", "'5'"),
)
NO_COUNTS: Final = ("-1", "1.5", "1e3", "1000000000", "9223372036854775808", "9" * 5_000, "\u0665", "off", "many", "+1")


def cap_cases() -> Iterator[Case]:
    """Budgets without room for one picture: refused before anything is asked for, the stored one is served."""
    for name, environ in TOO_LITTLE.items():
        case = Case(family="cap", name=name, ask=Ask(), code="budget_exhausted", status=402, environ=environ)
        yield case
        yield replace(case, name=f"{name}, HEAD", ask=Ask(method="HEAD"), code="not_generated", status=404)
        yield replace(case, name=f"{name}, kept", code=None, status=200, is_kept=True)


def faulty_caps() -> Iterator[tuple[str, str]]:
    """Settings that no server starts with."""
    for value in NO_CAPS:
        for variable in DOLLARS:
            yield variable, value
    for variable in DOLLARS[1:]:
        yield variable, "off"  # only the wall has one
    for value in NO_COUNTS:
        for variable in (*PICTURES, "COPPERPLATE_CALLER_IN_FLIGHT"):
            yield variable, value
    yield "COPPERPLATE_CALLER_IN_FLIGHT", "0"


@dataclass(frozen=True, kw_only=True)
class Night:
    """A picture during which a UTC day ends, `moment` says when; `calls` are those of both days together.

    One address may have two pictures a day. `second_day` is how many are left for it after that picture.
    """

    eve: datetime  # shortly before midnight
    moment: Literal["before the submit", "during the submit", "between two submits", "while it is stored"]
    seconds: float  # how far beyond midnight
    calls: int
    second_day: int

    def __str__(self) -> str:
        return f"{self.eve:%Y-%m-%d}, {self.moment}, {self.seconds} s"


def nights() -> Iterator[Night]:
    """Ends of months and years, and of a February with and without its 29th; a submit belongs to its own day."""
    for day in ((2026, 11, 30), (2026, 12, 31), (2027, 2, 28), (2028, 2, 28), (2028, 2, 29)):
        eve = datetime(*day, 23, 59, 59, tzinfo=UTC)
        for seconds in (0.0, 1.5):
            yield Night(eve=eve, moment="before the submit", seconds=seconds, calls=1, second_day=1)
            yield Night(eve=eve, moment="during the submit", seconds=seconds, calls=1, second_day=2)
            yield Night(eve=eve, moment="between two submits", seconds=seconds, calls=2, second_day=1)
            yield Night(eve=eve, moment="while it is stored", seconds=seconds, calls=1, second_day=2)
