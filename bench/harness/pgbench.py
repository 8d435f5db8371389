"""Statements under pgbench, in interleaved rounds."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

from bench.harness.processes import child_environment
from copperplate.local.binaries import find_binaries

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS, THREADS = 16, 2
# psycopg's names for what libpq reads from the environment; a password stays out of the process list.
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement about key number `:n`, which is drawn anew for each transaction."""

    name: str
    sql: str
    first: int
    last: int


def program() -> str:
    """The pgbench in use."""
    return shutil.which("pgbench") or str(find_binaries().folder / "pgbench")


def describe(clients: int = CLIENTS) -> str:
    """How the figures were made."""
    version = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"\d+[\d.]*", version)
    return f"pgbench {number[0] if number else ''} -M prepared, {clients} clients, {THREADS} threads"


def per_second(
    statements: list[Statement], url: str, folder: Path, *, rounds: int, seconds: int, clients: int = CLIENTS
) -> dict[str, list[float]]:
    """Transactions per second of each statement, one value a round; every round runs all of them in turn."""
    rates: dict[str, list[float]] = {statement.name: [] for statement in statements}
    for number in range(rounds):
        # Every other round backwards: what drifts in one direction favours nobody.
        for statement in statements if number % 2 == 0 else reversed(statements):
            rates[statement.name].append(_run(statement, url, folder, seconds, clients))
    return rates


def _run(statement: Statement, url: str, folder: Path, seconds: int, clients: int) -> float:
    script = folder / "statement.sql"
    script.write_text(f"\\set n random({statement.first}, {statement.last})\n{statement.sql};\n", encoding="utf-8")
    given = conninfo_to_dict(url)
    environ = {variable: str(given[name]) for name, variable in _VARIABLES.items() if name in given}
    done = subprocess.run(
        [program(), "-n", "-M", "prepared", f"-c{clients}", f"-j{THREADS}", f"-T{seconds}", "-f", str(script)],
        env=child_environment({**environ, "PGOPTIONS": "-c role=service_role"}),
        capture_output=True,
        text=True,
        check=False,
    )
    rate = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or rate is None:
        raise RuntimeError(f"pgbench failed on {statement.name}: {done.stderr[-1000:]}")
    return float(rate[1])
