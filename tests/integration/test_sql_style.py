"""Nothing to find fault with in any SQL: squawk for what a migration may break, sqlfluff for its style."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
MIGRATIONS = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAMS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def test_squawk_finds_nothing_in_the_migrations() -> None:
    answer = run("squawk", "--reporter=gcc", *MIGRATIONS)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_squawk_would_find_a_migration_that_breaks_what_runs(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sql"
    bad.write_text("alter table public.generation_status drop column prompt;\n")
    answer = run("squawk", "--reporter=gcc", bad)
    assert answer.returncode == 1
    assert "ban-drop-column" in answer.stdout


def test_sqlfluff_finds_nothing() -> None:
    answer = run("sqlfluff", "lint", "--disable-progress-bar", "supabase", "sql", "src")
    assert answer.returncode == 0, answer.stdout
