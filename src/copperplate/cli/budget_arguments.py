"""What the command line takes as a budget's name, as money and as the end of an override."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from copperplate.budgets import PREPAID
from copperplate.cli.arguments import dollar_amount, duration, pictures
from copperplate.settings import PROVIDER_KEYS

OFF: Final = "off"
LONGEST_OVERRIDE: Final = timedelta(days=3_660)
NAMES: Final = "all, anonymous, user:UUID, key:PREFIX, link:ID, provider:NAME or model:PROVIDER/MODEL"
# What may stand after the colon; a key's id, or the eight characters that name it to people.
_LINK: Final = re.compile(r"[a-z0-9-]{1,16}")
_KEY_PREFIX: Final = re.compile(r"(?:cp_)?([0-9A-Za-z]{8})…?")
_MODEL: Final = re.compile(r"[!-~]{1,180}")


def budget_name(raw: str) -> str:
    """A name in its one spelling, or the error that argparse shows. A key's prefix is left to be looked up."""
    base = raw.removeprefix(PREPAID)
    kind, colon, which = base.partition(":")
    spelled = base if base in ("all", "anonymous") else _spelled(kind, which) if colon else None
    if spelled is None:
        hint = "; an address has a share of `anonymous`, and no cap of its own" if kind == "address" else ""
        raise argparse.ArgumentTypeError(f"{NAMES}, not {raw!r}{hint}")
    return f"{PREPAID}{spelled}" if raw.startswith(PREPAID) else spelled


def _spelled(kind: str, which: str) -> str | None:
    match kind:
        case "user":
            return _of_uuid("user", which)
        case "key":
            named = _KEY_PREFIX.fullmatch(which)
            return f"key:{named[1]}" if named else _of_uuid("key", which)
        case "link":
            return f"link:{which}" if _LINK.fullmatch(which) else None
        case "provider":
            return f"provider:{which}" if which in PROVIDER_KEYS else None
        case "model":
            provider, _, model = which.partition("/")
            is_known = provider in PROVIDER_KEYS and _MODEL.fullmatch(model) is not None
            return f"model:{which}" if is_known else None
        case _:
            return None


def _of_uuid(kind: str, raw: str) -> str | None:
    try:
        return f"{kind}:{UUID(raw)}"
    except ValueError:
        return None


def prefix_of(name: str) -> str | None:
    """The key's prefix in a name of `budget_name` that has one."""
    named = re.fullmatch(r"(?:prepaid/)?key:([0-9A-Za-z]{8})", name)
    return named[1] if named else None


def dollars_or_off(raw: str) -> int | str:
    """Dollars, as millionths of one, or `off`."""
    return raw if raw == OFF else dollar_amount(raw)


def pictures_or_off(raw: str) -> int | str:
    """How many, or `off`."""
    return raw if raw == OFF else pictures(raw)


def until(raw: str) -> datetime | timedelta:
    """A time with its zone, or how long from now on."""
    try:
        time = datetime.fromisoformat(raw)
    except ValueError:
        return _from_now(raw)
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"a time with its zone, such as 2026-12-24T18:00Z, not {raw!r}")
    return time.astimezone(UTC)


def _from_now(raw: str) -> timedelta:
    try:
        return duration(raw, longest=LONGEST_OVERRIDE)
    except argparse.ArgumentTypeError as error:
        message = f"a time such as 2026-12-24T18:00Z, or {error}"
        raise argparse.ArgumentTypeError(message) from None
