"""One planted change, anchored by the text it replaces."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class AnchorLost(Exception):
    """The text that a change replaces is not in its file any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Whole lines of a file and what stands there instead; `occurrence` counts equal blocks of the file from one."""

    area: str
    rule: str
    file: str
    before: str
    after: str
    occurrence: int = 1

    @property
    def id(self) -> str:
        """The same for the same change, wherever its lines have moved within the file."""
        parts = (self.file, self.before, str(self.occurrence), self.after)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]

    def apply(self, source: str) -> str:
        """`source` with the change in it; raises AnchorLost."""
        return "".join((source[: self._start(source)], self.after, source[self._start(source) + len(self.before) :]))

    def line_in(self, source: str) -> int:
        """The number of the first line that is changed; raises AnchorLost."""
        return source.count("\n", 0, self._start(source)) + 1

    def changed_line_in(self, source: str) -> int:
        """The number of the first line that differs; raises AnchorLost."""
        pairs = zip(self.before.split("\n"), [*self.after.split("\n"), *[None] * len(self.before)], strict=False)
        return self.line_in(source) + next((number for number, (old, new) in enumerate(pairs) if old != new), 0)

    def _start(self, source: str) -> int:
        # With a line end before it, an anchor is never found within another line.
        text, place = "\n" + source, -1
        for _ in range(self.occurrence):
            place = text.find("\n" + self.before, place + 1)
            end = place + 1 + len(self.before)
            while place >= 0 and end < len(text) and text[end] != "\n":
                place = text.find("\n" + self.before, place + 1)
                end = place + 1 + len(self.before)
            if place < 0:
                raise AnchorLost(f"{self.file}: occurrence {self.occurrence} of {self.before.strip()!r}")
        return place


def occurrence_at(lines: list[str], first: int, count: int) -> int:
    """Which of the equal blocks of `lines` begins at index `first`, counted from one."""
    block = lines[first : first + count]
    return sum(lines[place : place + count] == block for place in range(first + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedChange:
    """A change that is named in a file: with what a user would notice, or with why no test can."""

    change: Change
    name: str
    why: str
    tests: tuple[str, ...] = ()


def find_file(root: Path, before: str, *, hint: str) -> str:
    """The file that holds `before`: `hint`, or the only other one if its lines were moved."""
    files = (path for folder in ("src", "supabase/migrations") for path in (root / folder).rglob("*.*"))
    block = f"\n{before}\n"
    if (root / hint).is_file() and block in f"\n{(root / hint).read_text()}\n":
        return hint
    found = [path for path in files if path.suffix in (".py", ".sql") and block in f"\n{path.read_text()}\n"]
    return found[0].relative_to(root).as_posix() if len(found) == 1 else hint


def read_named(path: Path, root: Path) -> list[NamedChange]:
    """The entries of `named.toml` or `equivalent.toml`, in the files of `root` that hold them today."""
    with path.open("rb") as file:
        entries = tomllib.load(file).get("change", [])
    return [
        NamedChange(
            change=Change(
                area="named",
                rule="named",
                file=find_file(root, entry["before"].strip("\n"), hint=entry["file"]),
                before=entry["before"].strip("\n"),
                after=entry["after"].strip("\n"),
                occurrence=entry.get("occurrence", 1),
            ),
            name=entry["name"],
            why=entry["why"],
            tests=tuple(entry.get("tests", ())),
        )
        for entry in entries
    ]
