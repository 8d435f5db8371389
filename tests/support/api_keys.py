"""API keys of a ledger, and everything that looks like one and is none."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from copperplate.access.api_keys import ALPHABET, MadeKey, make_key
from copperplate.api_keys import Scope
from copperplate.ports.access import NewApiKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.ports import ApiKeys
    from copperplate.ports.access import ApiKeyRecord


class Kept(NamedTuple):
    """A key that the ledger knows."""

    text: str
    record: ApiKeyRecord


async def keep_key(keys: ApiKeys, *scopes: Scope, **given: Any) -> Kept:
    """Make a key, with the scope `generate` unless others are named."""
    made = make_key()
    record = await keys.create_api_key(new_key(made, *scopes, **given))
    return Kept(made.text, record)


def new_key(made: MadeKey, *scopes: Scope, **given: Any) -> NewApiKey:
    """The same for a key that is made already."""
    fixed = {"prefix": made.prefix, "digest": made.digest, "scopes": frozenset(scopes or {Scope.GENERATE})}
    return NewApiKey(**{"name": "", "tier": "standard", **fixed, **given})


def wrong_keys(right: str, seed: int = 1) -> Iterator[str]:
    """What is not this key although it begins as one, or nearly so; some have a check that fits."""
    chance = random.Random(seed)
    yield from (
        "cp_",
        "cp_\t",
        right[:11],
        "CP_",
        "cp_null",
        "cp_undefined",
        "cp_None",
        "cp_…",
        "cp_%00",
        "cp_" + "0" * 57,
    )
    yield from (right.lower(), right.upper(), right.swapcase(), "CP" + right[2:], "Cp" + right[2:], "cP" + right[2:])
    yield from (right + right, "cp_" + right[:2:-1], right + "\u200b", right + "é", right + "密钥")
    yield from ("cp_" + "é" * 57, "cp_" + "密" * 57, "cp_" + "٣" * 57, "cp_" + "\U0001d7d8" * 57, "cp_" + "\ufeff" * 57)
    yield from (
        f'"{right}"',
        f"'{right}'",
        f"<{right}>",
        f"{right};",
        f"{right},{right}",
        f"{right} {right}",
        f"[{right}",
    )
    yield from (
        "cp_" + "A" * 100,
        "cp_" + "A" * 1_000,
        "cp_" + "A" * 3_900,
        right + "=",
        right + "\x7f",
        right + "/../",
    )
    yield from (
        "cp_' or 1=1 --",
        "cp_{}",
        "cp_*",
        "cp_%",
        "cp__" + right[4:],
        "-cp_" + right[3:],
        "cp_.a.b",
        "cp_a.b.c",
    )
    for place in range(3, len(right), 5):  # one letter is another, is missing, is there twice, has changed places
        other = chance.choice([letter for letter in ALPHABET if letter != right[place]])
        yield right[:place] + other + right[place + 1 :]
        yield right[:place] + right[place + 1 :]
        yield right[:place] + right[place] + right[place:]
        yield f"{right[:place]} {right[place:]}"
        if place + 1 < len(right) and right[place] != right[place + 1]:
            yield right[:place] + right[place + 1] + right[place] + right[place + 2 :]
    for length in (4, 10, 12, 30, 53, 54, 59):
        yield right[:length]
    for _ in range(12):  # whole, and nobody's
        yield make_key().text
        yield make_key(right[3:11]).text
