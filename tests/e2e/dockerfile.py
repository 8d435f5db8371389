"""Reads a Dockerfile as far as ours goes, so that its instructions can be carried out without an engine."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """`COPY a b` is the name `COPY` and the rest `a b`."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as a shell splits it."""
        return shlex.split(self.rest)


def read_stages(file: Path) -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    stages: list[list[Instruction]] = []
    for name, _, rest in (line.partition(" ") for line in lines if line):
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(Instruction(name, rest))
    return stages


def all_of(stage: list[Instruction], name: str) -> list[Instruction]:
    """The instructions of one name."""
    return [each for each in stage if each.name == name]


def environment_of(stage: list[Instruction]) -> dict[str, str]:
    """What its ENV instructions set."""
    return dict(word.split("=", 1) for each in all_of(stage, "ENV") for word in each.words)
