"""pgTAP where `supabase test db` cannot run: the extension from npm, and what its lines say."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from copperplate.local.statements import split_statements

if TYPE_CHECKING:
    from collections.abc import Iterable

ARCHIVE = Path("@electric-sql") / "pglite-pgtap" / "dist" / "pgtap.tar.gz"
EXTENSION = re.compile(r"share/postgresql/extension/pgtap--[\d.]+\.sql")
PLAN = re.compile(r"1\.\.(\d+)$")
RESULT = re.compile(r"(?P<not>not )?ok (?P<number>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a file of tests printed."""

    planned: int | None
    passed: int
    failures: list[str]


def read_extension(node_modules: Path) -> str:
    """pgTAP's script: SQL and PL/pgSQL only, so any superuser can load it into a schema."""
    with tarfile.open(node_modules / ARCHIVE) as archive:
        [name] = [each for each in archive.getnames() if EXTENSION.fullmatch(each)]
        member = archive.extractfile(name)
        assert member is not None
        return member.read().decode()


def load_extension(superuser_url: str, script: str) -> None:
    """Do what `create extension pgtap with schema extensions` does where the server has the files."""
    with psycopg.connect(superuser_url) as connection:
        connection.execute("set local search_path = extensions")
        connection.execute(script.encode())


def run_file(owner_url: str, file: Path) -> Report:
    """Run a file as its author's psql would, statement by statement, and read the lines it prints."""
    lines: list[str] = []
    with psycopg.connect(owner_url, autocommit=True, prepare_threshold=None) as connection:
        for statement in split_statements(file.read_text()):
            cursor = connection.execute(statement.text.encode())
            if cursor.description:
                lines += [line for row in cursor for value in row for line in str(value).splitlines()]
    return read_report(lines)


def read_report(lines: Iterable[str]) -> Report:
    """Count results; a result that is not ok takes the diagnostics behind it along."""
    planned: int | None = None
    passed = 0
    failures: list[str] = []
    is_failing = False
    for line in lines:
        if found := PLAN.match(line):
            planned = int(found[1])
        elif found := RESULT.match(line):
            is_failing = found["not"] is not None
            passed += not is_failing
            failures += [line] if is_failing else []
        elif is_failing and line.startswith("#"):
            failures[-1] += f"\n{line}"
    return Report(planned=planned, passed=passed, failures=failures)
