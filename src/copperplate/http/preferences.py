"""What a request's headers prefer: an answer at once or within a time (RFC 7240), or nothing but what is stored.

The last is `Cache-Control: only-if-cached` (RFC 9111, 5.2.1.7), and `Sec-Purpose: prefetch`, by which browsers say that
nobody looks yet. What cannot be read is no preference: RFC 7240 has them ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

RESPOND_ASYNC: Final = "respond-async"
_NAMES: Final = frozenset({b"cache-control", b"prefer", b"sec-purpose"})
# A member of a list: commas in quotes separate nothing. A quote that is not closed holds all that follows.
_MEMBER: Final = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z))++', re.DOTALL)
_SECONDS: Final = re.compile(rb'(?:[0-9]{1,9}|"[0-9]{1,9}")')


class Preferences(NamedTuple):
    """`is_async`: the answer may be 202. `wait_seconds`: how long its caller waits for another one, if they say so."""

    is_async: bool = False
    wait_seconds: int | None = None
    is_cached_only: bool = False

    @property
    def applied(self) -> str:
        """What `Preference-Applied` says of an answer that follows them; empty where nothing was preferred."""
        wait = [] if self.wait_seconds is None else [f"wait={self.wait_seconds}"]
        return ", ".join([RESPOND_ASYNC] * self.is_async + wait)

    @property
    def within_seconds(self) -> float | None:
        """How long an answer may wait for its picture; None: as long as any."""
        return 0.0 if self.is_async and self.wait_seconds is None else self.wait_seconds


NONE: Final = Preferences()


def read_preferences(headers: Collection[tuple[bytes, bytes]]) -> Preferences:
    """The preferences in the headers of a request of ASGI. Most have none, and cost a look at each name."""
    for name, _ in headers:
        if name in _NAMES:
            break
    else:
        return NONE
    told = [header for header in headers if header[0] in _NAMES]
    preferred = dict(_preferred(told))
    seconds = preferred.get(b"wait", b"")
    return Preferences(
        is_async=RESPOND_ASYNC.encode() in preferred,
        wait_seconds=int(seconds.strip(b'"')) if _SECONDS.fullmatch(seconds) else None,
        is_cached_only=_is_cached_only(told),
    )


def _preferred(told: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Names in lower case, each with its value, the first one last: it counts (RFC 7240, 2)."""
    for member in reversed(list(_members(told, b"prefer"))):
        # A name ends where a value or a parameter begins, whichever comes first.
        name, _, value = member.partition(b";")[0].partition(b"=")
        yield name.strip().lower(), value.strip()


def _is_cached_only(told: Iterable[tuple[bytes, bytes]]) -> bool:
    directives = {member.partition(b"=")[0].strip().lower() for member in _members(told, b"cache-control")}
    purposes = {member.partition(b";")[0].strip().lower() for member in _members(told, b"sec-purpose")}
    return b"only-if-cached" in directives or b"prefetch" in purposes


def _members(told: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    """The members of a list, which may be spread over several headers."""
    return _MEMBER.findall(b",".join(value for name, value in told if name == wanted))
