"""The settings of access and spending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from copperplate.settings import formats
from copperplate.settings.fields import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may cause a miss, how much may be spent a UTC day in millionths of a dollar, and how much one may follow."""

    access: Literal["open", "signed", "keys"] = setting(
        "COPPERPLATE_ACCESS",
        formats.one_of("open", "signed", "keys"),
        "open",
        "Who may have a picture made that is not stored: `open` everybody, within budgets; `signed` who brings a "
        "signed URL, an API key or a sign-in; `keys` who brings a key or a sign-in. "
        "Stored pictures are served to everybody.",
    )
    daily_budget: int | None = setting(
        "COPPERPLATE_DAILY_BUDGET_USD",
        formats.dollars_or_off,
        "5.00",
        "What providers may cost a UTC day, in dollars: the wall. `off` removes it, and the shares of it.",
    )
    daily_budget_pictures: int | None = setting(
        "COPPERPLATE_DAILY_BUDGET_PICTURES",
        formats.number,
        None,
        "How many pictures may be made a UTC day.",
        example="500",
    )
    anonymous_budget: int | None = setting(
        "COPPERPLATE_ANONYMOUS_BUDGET_USD",
        formats.dollars,
        None,
        "What all callers whom nobody knows may cost a UTC day; half the wall unless set. "
        "One address has a tenth of it.",
        example="2.50",
        unset="half the wall",
    )
    anonymous_budget_pictures: int | None = setting(
        "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES",
        formats.number,
        None,
        "How many pictures callers whom nobody knows may have made a UTC day.",
        example="100",
    )
    user_budget: int | None = setting(
        "COPPERPLATE_USER_BUDGET_USD",
        formats.dollars,
        None,
        "What one signed-in user may cost a UTC day beside what credits pay; a tenth of the wall unless set.",
        example="0.50",
        unset="a tenth of the wall",
    )
    caller_in_flight: int | None = setting(
        "COPPERPLATE_CALLER_IN_FLIGHT",
        formats.count,
        None,
        "How many pictures one caller may have under way; more are answered 429. What credits pay for is not counted.",
        example="4",
    )
    max_streams: int = setting(
        "COPPERPLATE_MAX_STREAMS",
        formats.count,
        "2000",
        "Streams of progress that one process holds; more are answered 503.",
    )
    streams_per_address: int = setting(
        "COPPERPLATE_STREAMS_PER_ADDRESS",
        formats.count,
        "20",
        "Streams of progress that one address may follow in one process; more are answered 429.",
    )
