"""Recipe to bytes to key. SQL twin: `public.cache_key`; `docs/keys.md` shows both by example."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalValue

# Whole numbers that every JSON reader keeps exactly (RFC 8259, section 6).
MAX_INTEGER: Final = 2**53 - 1

# Escapes exactly as PostgreSQL's escape_json: \" \\ \b \f \n \r \t, \u00xx below U+0020, no more.
_encode_json = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def cache_key(recipe: Mapping[str, CanonicalValue]) -> str:
    """SHA-256 of the recipe's canonical bytes: 64 lower-case hexadecimal digits.

    Raises `TypeError` or `ValueError` like `canonical_bytes`.
    """
    return hashlib.sha256(canonical_bytes(recipe)).hexdigest()


def canonical_bytes(recipe: Mapping[str, CanonicalValue]) -> bytes:
    """The recipe as compact JSON in UTF-8, members sorted by code point.

    Values are strings, booleans, integers below 2^53 in size and lists of strings. Raises
    `TypeError` for any other type and for a recipe without `v` (an integer) and `kind` (a string),
    `ValueError` for what is out of range: a name that is not ASCII, a lone surrogate, U+0000.
    """
    for name, value in recipe.items():
        _require_name(name)
        if isinstance(value, str):
            _require_text(value)
        elif isinstance(value, list):
            for item in value:
                _require_text(item)
        else:
            _require_integer(name, value)
    version = recipe.get("v")
    if not isinstance(version, int) or isinstance(version, bool) or not isinstance(recipe.get("kind"), str):
        message = 'a recipe needs "v", its version, as an integer and "kind" as a string'
        raise TypeError(message)
    return _encode_json(dict(recipe)).encode()


def _require_name(name: object) -> None:
    if not isinstance(name, str):
        message = f"a recipe's names are strings, not {type(name).__name__}"
        raise TypeError(message)
    if not name.isascii() or "\0" in name:
        message = f"a recipe's names are ASCII, unlike {name!a}"
        raise ValueError(message)


def _require_text(value: object) -> None:
    if not isinstance(value, str):
        message = f"a recipe's lists hold strings, not {type(value).__name__}"
        raise TypeError(message)
    if "\0" in value:
        message = "a recipe's text cannot hold U+0000: Postgres has no such character"
        raise ValueError(message)


def _require_integer(name: str, value: object) -> None:
    if not isinstance(value, int):
        message = f"{name!a} is a {type(value).__name__}; write decimals as strings, leave out nothing"
        raise TypeError(message)
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        message = f"{name!a} is not below 2^53; write it as a string"
        raise ValueError(message)
