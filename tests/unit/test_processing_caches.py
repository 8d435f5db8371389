"""A processing cache of an older system, read with whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from copperplate.operations.processing_caches import CachedResult, FaultyCache, FaultyResult, read_cache
from copperplate.source_pictures import Operation

A, B, C, D = ("0123"[number] * 64 for number in range(4))


def read(**entries: Any) -> list[CachedResult | FaultyResult]:
    return read_cache(json.dumps(entries).encode())


def test_each_operation_is_a_result_and_a_path_is_a_string_or_an_object_with_one() -> None:
    found = read(**{A: {"bgRemoved": {"path": "a", "cost": 1}, "upscaled": "b", "faceDetailed": "c", "other": "d"}})
    assert [(each.operation, each.path) for each in found if isinstance(each, CachedResult)] == [
        (Operation.REMOVE_BACKGROUND, "a"),
        (Operation.UPSCALE, "b"),
        (Operation.FACE_DETAIL, "c"),
    ]
    assert {each.place for each in found} == {f"{A} bgRemoved", f"{A} upscaled", f"{A} faceDetailed"}


def test_oldest_comes_first_whichever_way_its_time_is_written_and_what_has_none_comes_last() -> None:
    found = read(
        **{
            A: {"upscaled": "a"},
            B: {"upscaled": "b", "timestamp": "2024-05-01T12:00:00+02:00"},
            C: {"upscaled": "c", "timestamp": 1_600_000_000_000},
            D: {"upscaled": "d", "timestamp": "2023-01-01"},
        }
    )
    assert [each.path for each in found if isinstance(each, CachedResult)] == ["c", "d", "b", "a"]


@pytest.mark.parametrize("timestamp", [None, True, "yesterday", 1e300, -1e300, [], {}, "", "9999-99-99"])
def test_time_that_cannot_be_read_takes_no_result_away(timestamp: Any) -> None:
    (found,) = read(**{A: {"upscaled": "a", "timestamp": timestamp}})
    assert isinstance(found, CachedResult)


def test_digest_in_capitals_is_the_same_picture() -> None:
    (found,) = read(**{"AB" * 32: {"upscaled": "a"}})
    assert isinstance(found, CachedResult)
    assert found.source == "ab" * 32


@pytest.mark.parametrize(
    "entry", [None, 1, "a path", [], {"upscaled": 1}, {"upscaled": ""}, {"upscaled": {}}, {"upscaled": {"path": None}}]
)
def test_what_names_no_path_is_a_fault_of_its_own(entry: Any) -> None:
    first, second = read(**{A: entry, B: {"upscaled": "b"}})
    assert isinstance(first, FaultyResult)
    assert isinstance(second, CachedResult)


def test_name_that_is_no_digest_is_told_without_what_would_control_a_terminal() -> None:
    (found,) = read(**{"\x1b[2J" + "x" * 200: {}})
    assert isinstance(found, FaultyResult)
    assert found.place.isprintable()
    assert len(found.place) < 100


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_json_object_is_no_cache(raw: bytes) -> None:
    with pytest.raises(FaultyCache):
        read_cache(raw)
