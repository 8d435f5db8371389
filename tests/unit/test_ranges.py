"""Parts of pictures: which bytes a `Range` asks for, and what is no question."""

from __future__ import annotations

import pytest

from copperplate.errors import UnsatisfiableRange
from copperplate.http.ranges import content_range, part_of

ETAG = b'"abc"'
SIZE = 1_000


def asked(value: bytes, *more: tuple[bytes, bytes]) -> range | None:
    return part_of([(b"host", b"t"), (b"range", value), *more], SIZE, ETAG)


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        (b"bytes=0-0", 0, 1),
        (b"bytes=0-499", 0, 500),
        (b"bytes=500-", 500, 1_000),
        (b"bytes=999-", 999, 1_000),
        (b"bytes=-1", 999, 1_000),
        (b"bytes=-500", 500, 1_000),
        (b"bytes=-5000", 0, 1_000),
        (b"bytes=0-999999", 0, 1_000),
        (b"bytes=990-" + b"9" * 4_000, 990, 1_000),
        (b"bytes=-" + b"9" * 4_000, 0, 1_000),
        (b"bytes=00-09", 0, 10),
        (b"BYTES=1-2", 1, 3),
        (b"bytes=, 1-2 ,", 1, 3),
    ],
)
def test_one_range_is_a_part(value: bytes, start: int, stop: int) -> None:
    assert asked(value) == range(start, stop)


@pytest.mark.parametrize(
    "value",
    [
        b"bytes=0-1,5-6",
        b"bytes=2-1",
        b"bytes=-",
        b"bytes=",
        b"bytes",
        b"",
        b"bytes=a-b",
        b"bytes=1-2-3",
        b"bytes= 1 - 2",
        b"bytes=+1-2",
        b"bytes=1.0-2",
        b"items=0-1",
        b"bytes=\xb2-",
        b"none",
    ],
)
def test_several_ranges_and_nonsense_are_the_whole(value: bytes) -> None:
    assert asked(value) is None


def test_two_headers_are_the_whole() -> None:
    assert asked(b"bytes=0-1", (b"range", b"bytes=0-1")) is None


@pytest.mark.parametrize("value", [b"bytes=1000-", b"bytes=1000-1001", b"bytes=-0", b"bytes=" + b"9" * 4_000 + b"-"])
def test_what_begins_behind_the_end_is_refused_with_the_size(value: bytes) -> None:
    with pytest.raises(UnsatisfiableRange) as refused:
        asked(value)
    assert refused.value.size_bytes == SIZE


@pytest.mark.parametrize(
    ("condition", "is_part"),
    [
        (ETAG, True),
        (b" " + ETAG, True),
        (b'W/"abc"', False),
        (b'"abd"', False),
        (b"abc", False),
        (b"*", False),
        (b'"abc", "abd"', False),
        (b"Mon, 30 Nov 2026 20:00:00 GMT", False),
        (b"", False),
    ],
)
def test_a_part_of_another_picture_is_not_sent(condition: bytes, *, is_part: bool) -> None:
    assert (asked(b"bytes=0-1", (b"if-range", condition)) is not None) is is_part


def test_another_picture_is_sent_whole_though_the_part_is_behind_its_end() -> None:
    assert asked(b"bytes=5000-", (b"if-range", b'"of an older one"')) is None


def test_without_an_entity_tag_no_condition_holds() -> None:
    told = [(b"range", b"bytes=0-1")]
    assert part_of(told, SIZE, b"") == range(2)
    assert part_of([*told, (b"if-range", b"")], SIZE, b"") is None


def test_content_range_names_the_last_byte() -> None:
    assert content_range(range(2, 5), 10) == b"bytes 2-4/10"
