"""The Supabase CLI, as it works without Docker: pinned in tests/node, over a database URL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from scripts import npm

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupabaseCli:
    """The program, and a copy of our `supabase/` folder for it to work in."""

    program: Path
    home: Path

    def run(self, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
        """Run a command against the database of `url`, which is over TCP: the CLI knows no sockets."""
        target = f"--remote={url}?sslmode=disable"
        return run_at(self.home, self.program, *arguments, target, "--yes", "--agent=no")


def run_at(home: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command that leaves its files in `home` and tells nobody that it ran."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "SUPABASE_TELEMETRY_DISABLED": "1"}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=60)


@cache
def find_program() -> Path:
    """The program, installed if need be; raises `npm.NotInstallable`."""
    program = npm.install() / ".bin" / "supabase"
    with tempfile.TemporaryDirectory() as home:
        answer = run_at(Path(home), program, "--version")
    if answer.returncode:
        message = f"the Supabase CLI does not run here: {' '.join(answer.stderr.split())[:200]}"
        raise npm.NotInstallable(message)
    return program


@pytest.fixture
def supabase_cli(tmp_path: Path) -> SupabaseCli:
    """The CLI beside a copy of our migrations, in which it may leave its files."""
    try:
        program = find_program()
    except npm.NotInstallable as error:
        pytest.skip(str(error))
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase", ignore=shutil.ignore_patterns(".temp", ".branches"))
    return SupabaseCli(program=program, home=tmp_path)
