"""Lists of pictures that exist already: CSV, one picture a row, faulty rows told by their line. Pure."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from copperplate.errors import InvalidFormat
from copperplate.model import PictureFormat
from copperplate.recipes.image import parse_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Where the picture lies; `path` is another word for `file`.
PLACES: Final = ("file", "path", "url")
REQUIRED: Final = ("prompt", "dimensions")
COLUMNS: Final = frozenset({*REQUIRED, *PLACES, "format", "model", "seed"})
_DELIMITERS: Final = ",;\t"
# What bytes that are not UTF-8 are read as.
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_DIMENSIONS: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


class FaultyList(ValueError):
    """The list has no usable header: no row of it can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """One picture: where it lies, and what it is the picture of. `line` is the row's first, from 1."""

    line: int
    prompt: str = field(repr=False)
    width: int
    height: int
    format: PictureFormat
    source: str = field(repr=False)  # an address may hold a token
    is_on_web: bool
    model: str | None
    seed: str


@dataclass(frozen=True, slots=True)
class FaultyRow:
    """A row that cannot be read, and why."""

    line: int
    fault: str


class _Fault(ValueError):
    """What is wrong with a row."""


def read_list(
    lines: Iterable[str], *, ignored: Callable[[list[str]], None] = lambda _: None
) -> Iterator[ImportRow | FaultyRow]:
    """The rows of a list, read as they are asked for. Raises `FaultyList` where its header names too little.

    `ignored` is told the columns that mean nothing here: perhaps a word is misspelt.
    """
    rest = iter(lines)
    first = next(rest, "")
    # Programs part cells by what their country uses.
    reader = csv.reader(chain([first], rest), delimiter=max(_DELIMITERS, key=first.count), strict=True)
    columns: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
            if columns is None:
                columns = _columns(cells)
                if unknown := [name for name in columns if name and name not in COLUMNS]:
                    ignored(unknown)
            elif cells:
                yield _row(line, columns, cells)
        except StopIteration:
            break
        except (csv.Error, _Fault) as fault:
            if columns is None:
                raise FaultyList(f"the header cannot be read: {fault}") from None
            yield FaultyRow(line, str(fault))
    if columns is None:
        raise FaultyList(_HEADER)


_HEADER: Final = "the first line names the columns: prompt, dimensions, and file or url"


def _columns(cells: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    known = [name for name in columns if name in COLUMNS]
    if not set(REQUIRED) <= set(known) or set(known).isdisjoint(PLACES):
        raise FaultyList(_HEADER)
    if len(known) != len(set(known)):
        raise FaultyList("the first line names a column twice")
    return columns


def _row(line: int, columns: list[str], cells: list[str]) -> ImportRow:
    if len(cells) != len(columns):
        message = f"it has {len(cells)} cells, and the header has {len(columns)}: is a comma or a quote missing?"
        raise _Fault(message)
    if any(map(_NOT_UTF8.search, cells)):
        raise _Fault("it is not UTF-8: save the list as UTF-8")
    values = dict(zip(columns, cells, strict=True))
    size = _DIMENSIONS.fullmatch(values["dimensions"].strip())
    if size is None:
        raise _Fault("dimensions are written as 1024x1024")
    place, source = _source(values)
    return ImportRow(
        line=line,
        prompt=values["prompt"],
        width=int(size[1]),
        height=int(size[2]),
        format=_format(values.get("format", "").strip()),
        source=source,
        is_on_web=place == "url",
        model=values.get("model", "").strip() or None,
        seed=values.get("seed", "").strip(),
    )


def _source(values: Mapping[str, str]) -> tuple[str, str]:
    named = [(place, values[place].strip()) for place in PLACES if values.get(place, "").strip()]
    if len(named) != 1:
        raise _Fault("it names no picture: fill in file or url" if not named else "it names two pictures")
    return named[0]


def _format(name: str) -> PictureFormat:
    if name == "auto":
        raise _Fault("a stored form has one format: write jpg, png, webp or avif")
    try:
        return parse_format(name) if name else PictureFormat.JPG
    except InvalidFormat as error:
        raise _Fault(str(error)) from None
