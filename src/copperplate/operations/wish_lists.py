"""Lists of pictures to warm: text, CSV or JSON lines, read line by line into items as `POST /api/generate` takes them.

What an item means is not judged here: its reader says what is wrong with it, and this module at which line.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import InvalidBody, InvalidRequest, InvalidText
from copperplate.recipes.kinds import IMAGE
from copperplate.recipes.memoji import FIELDS
from copperplate.strict_json import InvalidJSON, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

    from copperplate.errors import CopperplateError

# Of one run: 100 batches.
MAX_ITEMS: Final = 100_000
# The longest prompt and all its echo fields, escaped, are shorter.
MAX_LINE_CHARS: Final = 65_536
MAX_FAULTS: Final = 20

_SIZE_NAMES: Final = frozenset({"width", "height", "dimensions", "size"})
# Spreadsheets like capitals; the fields of a memoji have some of their own.
_NAMES: Final = {name.lower(): name for name in FIELDS}
_WHOLE: Final = re.compile(r"[0-9]{1,6}")
# What bytes that are not UTF-8 are read as.
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_DELIMITERS: Final = ",;\t"


class ListForm(StrEnum):
    """How a list is written."""

    TEXT = "text"
    CSV = "csv"
    JSONL = "jsonl"


_BY_ENDING: Final = {
    ".txt": ListForm.TEXT,
    ".csv": ListForm.CSV,
    ".tsv": ListForm.CSV,
    ".jsonl": ListForm.JSONL,
    ".ndjson": ListForm.JSONL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One item of a list, and the line it began at, from 1."""

    line: int
    item: Mapping[str, Any] = field(repr=False)  # holds the prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFault:
    """What is wrong with the item that began at a line."""

    line: int
    code: str
    message: str

    @classmethod
    def of(cls, line: int, error: CopperplateError) -> ListFault:
        """The fault that an error is."""
        return cls(line=line, code=error.code, message=str(error))


def form_of(name: str) -> ListForm | None:
    """The form that a file's name tells; None where it tells none."""
    return _BY_ENDING.get(PurePath(name).suffix.lower())


def read_list(stream: TextIO, form: ListForm | None = None) -> Iterator[Listed | ListFault]:
    """The items of a list in their order, and the faults of those that are none; None: the first line tells the form.

    The stream is opened with universal newlines and `errors="surrogateescape"`, so that what is not UTF-8 is a fault
    of its line. Raises `InvalidRequest` where reading cannot go on: a line that has no end, more items than one run
    takes, a quote that is never closed, a header without a column for prompts or kinds, another encoding.
    """
    lines = _bounded(stream)
    first = next(lines, "")
    if first.startswith(("\udcff\udcfe", "\udcfe\udcff")) or "\0" in first:
        raise InvalidRequest("line 1: this is UTF-16. Save the list as UTF-8.")
    whole = chain([first.removeprefix("\ufeff")], lines)
    read = _READERS[form or _guess(first.removeprefix("\ufeff"))]
    for number, each in enumerate(read(whole)):
        if number == MAX_ITEMS:
            raise InvalidRequest(f"line {each.line}: one run takes {MAX_ITEMS:,} items. Split the list.")
        yield _refused(each) if isinstance(each, Listed) and _is_garbled(each.item) else each


def _is_garbled(item: Mapping[str, Any]) -> bool:
    return any(isinstance(value, str) and _NOT_UTF8.search(value) for value in item.values())


def _refused(listed: Listed) -> ListFault:
    return ListFault.of(listed.line, InvalidText("This is not UTF-8. Save the list as UTF-8."))


def with_defaults(item: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    """An item with what is `said` of images that do not say it themselves: `dimensions`, `format`, `model`."""
    if item.get("kind", IMAGE.name) != IMAGE.name:
        return dict(item)
    has_size = not _SIZE_NAMES.isdisjoint(item)
    return {**{name: value for name, value in said.items() if not (has_size and name in _SIZE_NAMES)}, **item}


def _guess(first: str) -> ListForm:
    if first.lstrip().startswith("{"):
        return ListForm.JSONL
    names = _header(first)
    is_header = "prompt" in names and all(re.fullmatch("[a-z][A-Za-z_]*", name) for name in names)
    return ListForm.CSV if is_header else ListForm.TEXT


def _bounded(stream: TextIO) -> Iterator[str]:
    """Its lines; a file without line breaks does not fill the memory."""
    number = 0
    while line := stream.readline(MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARS:
            raise InvalidRequest(f"line {number}: no line is longer than {MAX_LINE_CHARS:,} characters.")
        yield line


def _read_text(lines: Iterable[str]) -> Iterator[Listed | ListFault]:
    for number, line in enumerate(lines, 1):
        prompt = line.strip()
        if prompt and not prompt.startswith("#"):
            yield Listed(line=number, item={"prompt": prompt})


def _read_jsonl(lines: Iterable[str]) -> Iterator[Listed | ListFault]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Listed(line=number, item=parse_object(line))
        except InvalidJSON as fault:
            yield ListFault.of(number, InvalidBody(str(fault)))


def _read_csv(lines: Iterable[str]) -> Iterator[Listed | ListFault]:
    source = iter(lines)
    first = next(source, "")
    names, delimiter = _header(first), _delimiter_of(first)
    if not {"prompt", "text", "kind"} & set(names) or len(set(names)) != len(names):
        raise InvalidRequest("line 1: the header names each column once, and one of them is prompt (or kind).")
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        line = rows.line_num + 2
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidRequest(f"line {line}: {error}.") from None
        if not any(cell.strip() for cell in row):
            continue
        try:
            yield Listed(line=line, item=_item_of(names, row))
        except InvalidBody as fault:
            yield ListFault.of(line, fault)


def _delimiter_of(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _header(first: str) -> list[str]:
    try:
        [names] = csv.reader([first], delimiter=_delimiter_of(first), strict=True)
    except (csv.Error, ValueError):
        return []
    return [_NAMES.get(name.strip().lower(), name.strip().lower()) for name in names]


def _item_of(names: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    """An item of a row's cells; those that are empty say nothing."""
    if len(row) > len(names):
        raise InvalidBody(f"The row has {len(row)} cells, the header {len(names)}. A cell with commas needs quotes.")
    cells = {name: cell.strip() for name, cell in zip(names, row, strict=False)}
    return {name: _VALUES.get(name, str)(cell) for name, cell in cells.items() if cell}


def _number(cell: str) -> int | str:
    """A number, or what whoever reads the item will refuse."""
    return int(cell) if _WHOLE.fullmatch(cell) else cell


def _words(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(";")]


# What is no string in JSON.
_VALUES: Final[Mapping[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("width", "height", "w", "h", "q", "thumb", "n"), _number),
    "accessories": _words,
}
_READERS: Final[Mapping[ListForm, Callable[[Iterable[str]], Iterator[Listed | ListFault]]]] = {
    ListForm.TEXT: _read_text,
    ListForm.CSV: _read_csv,
    ListForm.JSONL: _read_jsonl,
}
