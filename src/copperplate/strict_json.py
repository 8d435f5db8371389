"""JSON that no two readers take differently: one object, nothing said twice, no numbers that JSON does not have."""

from __future__ import annotations

import json
from typing import Any, NoReturn


class InvalidJSON(ValueError):
    """Not such JSON; the message is for people and quotes nothing."""


def parse_object(raw: str | bytes) -> dict[str, Any]:
    """The one object that `raw` is. Raises `InvalidJSON`, whatever is wrong."""
    try:
        # By itself `json` takes bytes of UTF-16 and UTF-32, too.
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse_constant)
    except InvalidJSON:
        raise
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        raise InvalidJSON("This is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise InvalidJSON("Send a JSON object.")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJSON("A member is there twice.")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSON(f"JSON has no {name}.")
