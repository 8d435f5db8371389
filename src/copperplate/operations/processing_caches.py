"""A processing cache as an older system kept it in one JSON file: results by the SHA-256 of what was processed. Pure.

`{"<sha256>": {"bgRemoved": {"path": …}, "upscaled": "path", "timestamp": …}, …}`: a path is a string, or an object that
has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import InvalidRequest
from copperplate.recipes.processed import read_digest
from copperplate.source_pictures import Operation
from copperplate.strict_json import InvalidJSON, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

# Later than every real one: what has no readable time comes last.
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class FaultyCache(ValueError):
    """The file is no such cache: nothing of it can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedResult:
    """One result: of what, by which operation, and the path of its file. `place` names it for people."""

    place: str
    source: str
    operation: Operation
    path: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FaultyResult:
    """What cannot be read, and why."""

    place: str
    fault: str


def read_cache(raw: bytes) -> list[CachedResult | FaultyResult]:
    """Every result that the file names, the oldest first. Raises `FaultyCache`.

    A member that is null or missing is no result, and other members mean nothing.
    """
    try:
        entries = parse_object(raw)
    except InvalidJSON as error:
        raise FaultyCache(str(error)) from None
    in_order = sorted(entries.items(), key=lambda each: _time_of(each[1]))
    return [result for name, entry in in_order for result in _results_of(name, entry)]


def _results_of(name: str, entry: Any) -> Iterator[CachedResult | FaultyResult]:
    place = ascii(name[:64])[1:-1]
    try:
        source = read_digest(name)
    except InvalidRequest as error:
        yield FaultyResult(place, str(error))
        return
    if not isinstance(entry, dict):
        yield FaultyResult(place, "it is no object of results")
        return
    for operation in Operation:
        result = entry.get(operation.result_name)
        if result is None:
            continue
        path = result.get("path") if isinstance(result, dict) else result
        where = f"{place} {operation.result_name}"
        if isinstance(path, str) and path:
            yield CachedResult(place=where, source=source, operation=operation, path=path)
        else:
            yield FaultyResult(where, "it names no path")


def _time_of(entry: Any) -> datetime:
    """When it was made: milliseconds since 1970, or ISO 8601."""
    told = entry.get("timestamp") if isinstance(entry, dict) else None
    try:
        return _moment(told)
    except (ValueError, OverflowError, OSError):
        return _NEVER


def _moment(told: Any) -> datetime:
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return _NEVER
    if not isinstance(told, str):
        return datetime.fromtimestamp(told / 1000, UTC)
    moment = datetime.fromisoformat(told)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
