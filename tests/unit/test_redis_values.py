"""What is read from Redis is checked: nothing is a copy that was not written for this key, by this database's."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copperplate.adapters.redis.values import MAX_VALUE_BYTES, read_value, write_value
from copperplate.feed import Cursor
from copperplate.model import Placeholder
from tests.support.pictures import picture_request
from tests.support.redis_copies import DATABASE, copy_of

if TYPE_CHECKING:
    from copperplate.model import CanonicalRecipe

REQUEST = picture_request("checked")
KEY = REQUEST.rendition_key
COPY = copy_of(REQUEST)
WRITTEN = write_value(COPY, REQUEST, has_prompt=False) or b""


def _sealed(value: dict[str, Any]) -> bytes:
    """As a process of this database would write it, another version of the program, say."""

    def dump(members: dict[str, Any]) -> bytes:
        return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    value.pop("seal", None)
    seal = hmac.digest(DATABASE.encode(), f"{KEY}\n".encode() + dump(value), "sha256").hex()
    return dump({**value, "seal": seal})


def _changed(**changes: object) -> bytes:
    """The value with other members, or others in its entry; `...` removes one."""
    value = json.loads(WRITTEN)
    for name, change in changes.items():
        place = value["entry"] if name in value["entry"] else value
        place[name] = change
        if change is ...:
            del place[name]
    return _sealed(value)


def test_what_was_written_is_read() -> None:
    assert read_value(WRITTEN, KEY, DATABASE) == COPY
    assert read_value(_changed(), KEY, DATABASE) == COPY
    # What a later version adds is no fault.
    assert read_value(_changed(color="red"), KEY, DATABASE) == COPY


@pytest.mark.parametrize(
    "raw", [None, b"", b"{", b"[]", b"null", b"\xff", "{}", 7, [WRITTEN], b"[" * 30_000, b'{"a":NaN}']
)
def test_what_is_no_value_is_no_copy(raw: object) -> None:
    assert read_value(raw, KEY, DATABASE) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "2026/01/../../../secrets.png"},
        {"path": "https://evil.example/x.png"},
        {"path": f"2026/13/{'a' * 64}.png"},
        {"path": f"2026/01/{'a' * 64}.svg"},
        {"path": f"2026/01/{'a' * 64}.png\n"},
        {"path": None},
        {"kind": "processed"},
        {"kind": "nothing"},
        {"kind": ["image"]},
        {"key": "0" * 64},
        {"key": KEY.upper()},
        {"generation_key": "short"},
        {"digest": "0" * 63},
        {"digest": f"{'0' * 64}\n"},
        {"digest": "g" * 64},
        {"size_bytes": 0},
        {"size_bytes": -1},
        {"size_bytes": True},
        {"size_bytes": 1.0},
        {"size_bytes": 10**9},
        {"size_bytes": 10**40},
        {"format": "svg"},
        {"width": 0},
        {"height": "64"},
        {"is_original": 1},
        {"encoder_version": -1},
        {"is_ai_made": None},
        {"placeholder": {"thumbhash": "zz", "color": "#000000"}},
        {"placeholder": {"thumbhash": "00", "color": "red\r\nSet-Cookie: a=b"}},
        {"placeholder": {"thumbhash": "00"}},
        {"placeholder": "00"},
        {"cursor": "7:9"},
        {"cursor": "7:9:8,"},
        {"cursor": "-7:9:"},
        {"cursor": "７:9:"},
        {"cursor": 7},
        {"cursor": f"{'9' * 5_000}:9:"},
        {"entry": None},
        {"entry": []},
        {"entry": ...},
        {"digest": ...},
        {"cursor": ...},
        {"prompt": "x" * MAX_VALUE_BYTES},
    ],
)
def test_value_with_a_member_that_is_wrong_is_no_copy(changes: dict[str, object]) -> None:
    assert read_value(_changed(**changes), KEY, DATABASE) is None


def test_member_that_is_there_twice_makes_it_no_copy() -> None:
    assert read_value(WRITTEN.replace(b'"cached":true', b'"cached":true,"cached":true'), KEY, DATABASE) is None


@given(place=st.integers(0, len(WRITTEN) - 1), byte=st.integers(0, 255))
def test_value_that_was_changed_is_no_copy(place: int, byte: int) -> None:
    changed = bytearray(WRITTEN)
    changed[place] = byte
    assert bytes(changed) == WRITTEN or read_value(bytes(changed), KEY, DATABASE) is None


def test_value_that_somebody_made_is_no_copy() -> None:
    """Whoever may write to the server knows all of it but the database's id."""
    value = json.loads(WRITTEN)
    value["entry"]["digest"] = "0" * 64
    for seal in (value["seal"], "", None, 7, "é", "0" * 64):
        assert read_value(json.dumps({**value, "seal": seal}).encode(), KEY, DATABASE) is None
    assert read_value(WRITTEN, "0" * 64, DATABASE) is None
    assert read_value(WRITTEN, KEY, f"{DATABASE}0") is None


@settings(max_examples=40)
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=400),
    xmin=st.integers(0, 2**63 - 1),
    running=st.frozensets(st.integers(0, 2**63 - 1), max_size=5),
    has_placeholder=st.booleans(),
    thumbhash=st.binary(min_size=1, max_size=25),
)
def test_whatever_is_kept_is_found(
    text: str, xmin: int, running: frozenset[int], thumbhash: bytes, *, has_placeholder: bool
) -> None:
    recipe: CanonicalRecipe = {**REQUEST.recipe, "prompt": text}
    placeholder = Placeholder(thumbhash=thumbhash, color="#0a0b0c") if has_placeholder else None
    entry = replace(COPY.entry, placeholder=placeholder)
    copy = replace(COPY, entry=entry, cursor=Cursor(xmin, xmin + 1, running))
    raw = write_value(copy, replace(REQUEST, recipe=recipe), has_prompt=True)
    assert read_value(raw, KEY, DATABASE) == copy


def test_value_that_would_be_too_large_is_not_kept() -> None:
    longest = picture_request("猫" * 1_000)
    assert write_value(COPY, longest, has_prompt=True) is not None
    busy = replace(COPY, cursor=Cursor(1, 10_000, frozenset(range(2, 9_000))))
    assert write_value(busy, longest, has_prompt=True) is None
