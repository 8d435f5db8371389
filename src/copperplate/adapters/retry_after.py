"""What a provider's answer says about asking again. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

# Longer ones make no difference: `generation/retry_policy.py` bounds each to 15 minutes.
LONGEST: Final = timedelta(days=1)


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """The pause a `Retry-After` header asks for, in seconds or as an HTTP date; None if it says neither.

    At most a day, never negative; the bounds that count are those of `failures.retry_after`.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        seconds = int(text[:10]) if len(text) <= 10 else LONGEST.total_seconds()
        return min(timedelta(seconds=seconds), LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC, says RFC 5322
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta(0)), LONGEST)
