"""Types of arguments that more than one command takes: money, pictures, durations, `--json`."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import Final

from copperplate.cli.shared import between
from copperplate.ports.budgets import MAX_CAP
from copperplate.settings import formats

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([0-9]{1,7})([mhdw]?)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option of every command that answers programs too."""
    parser.add_argument("--json", action="store_true", help="for programs")


def dollar_amount(raw: str) -> int:
    """Dollars, as millionths of one, or the error that argparse shows."""
    try:
        return formats.dollars(raw)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {raw!r}") from None


def pictures(raw: str) -> int:
    """How many."""
    return between(raw, 0, MAX_CAP)


def duration(
    raw: str, *, longest: timedelta, shortest: timedelta = timedelta(minutes=1), unit: str | None = None
) -> timedelta:
    """A number and its unit, or the error that argparse shows; a number alone is of `unit`, where there is one."""
    found = _DURATION.fullmatch(raw)
    named = (found[2] or unit) if found else None
    if found and named:
        length = timedelta(**{UNITS[named]: int(found[1])})
        if shortest <= length <= longest:
            return length
    alone = f" (a number alone is {UNITS[unit]})" if unit else ""
    raise argparse.ArgumentTypeError(
        f"a duration such as 90m, 12h, 30d or 8w{alone}, {longest.days:,} days at most; not {raw!r}"
    )
