"""What commands print: tables for people, JSON for programs; times in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def print_json(value: Any) -> None:
    """For programs."""
    print(json.dumps(value, indent=2))


def print_table(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> None:
    """Rows, the head first, in columns; those at the places of `right` are aligned on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def time_text(time: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration_text(length: timedelta) -> str:
    """In its largest whole unit: `24 hours` is `1 day`."""
    minutes = length // timedelta(minutes=1)
    for name, size in (("day", 24 * 60), ("hour", 60), ("minute", 1)):
        if minutes % size == 0 and minutes:
            count = minutes // size
            return f"{count:,} {name}{'' if count == 1 else 's'}"
    return "0 minutes"
