"""`vercel build` by the real CLI, without an account, in a copy of the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "bin" / "uv"
# The newest that Vercel's default is compatible with first; its runtime needs 3.12.
PYTHONS = ("3.12", "3.13", "3.14")
BUILD_SECONDS = 540
# Without these the CLI would ask for a login and a project.
PROJECT = {"projectId": "prj_offline", "orgId": "team_offline", "settings": {"framework": "python"}}
# A copy needs neither the tools nor what an earlier build left.
LEFT_OUT = (".git", ".tools", ".venv", ".vercel", "node_modules", "__pycache__", ".*_cache", ".hypothesis")
# What a developer's checkout may hold; nothing of it may leave the machine.
PLANTED = (".env", ".env.local", ".env.production", ".copperplate/secret", "supabase/.temp/secret", "notes/secret.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What `vercel build` made of a copy of the tree."""

    root: Path
    python: Path
    version: str

    @property
    def output(self) -> Path:
        """The folder that would be uploaded."""
        return self.root / ".vercel" / "output"

    @property
    def config(self) -> dict[str, Any]:
        """Routes and crons."""
        return _read(self.output / "config.json")

    @property
    def function(self) -> dict[str, Any]:
        """How the platform is to run the function, and its files."""
        return _read(self.output / "functions" / "python.func" / ".vc-config.json")

    @property
    def files(self) -> dict[str, Path]:
        """The files of the function by their place in it."""
        folder = self.output / "functions" / "python.func"
        own = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
        own.pop(".vc-config.json")
        return own | {place: self.root / source for place, source in self.function["filePathMap"].items()}

    def unpack(self, folder: Path) -> None:
        """Lay the function out as the platform does."""
        for place, source in self.files.items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)  # with its time, which its bytecode names


def find_python() -> tuple[Path, str] | None:
    """An interpreter that Vercel's runtime can use, on PATH or among pyenv's versions, with its version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in PYTHONS:
        name = f"python{version}"
        on_path = [Path(folder) / name for folder in os.environ.get("PATH", "").split(os.pathsep)]
        for python in [*on_path, *sorted(pyenv.glob(f"{version}.*/bin/{name}"))]:
            # A shim of pyenv exists for every version and fails for those that are not chosen.
            if (
                python.is_file()
                and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
            ):
                return python, version
    return None


def build(root: Path, *, commands: Path, python: Path, version: str) -> Deployment:
    """Build the deployment in a copy of the tree at `root`; `commands` has the CLI."""
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    for place in PLANTED:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("SUPABASE_SECRET_KEY=planted\n")
    (root / ".vercel").mkdir()
    (root / ".vercel" / "project.json").write_text(json.dumps(PROJECT))
    if version != PYTHONS[0]:
        (root / ".python-version").write_text(f"{version}\n")
    tools = root / ".vercel" / "bin"
    tools.mkdir()
    for tool in (python, UV):
        (tools / tool.name).symlink_to(tool)
    done = subprocess.run(
        ["vercel", "build", "--yes"],
        cwd=root,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("VERCEL", "UV_PROJECT"))},
            "PATH": os.pathsep.join([str(tools), str(commands), os.environ["PATH"]]),
            "CI": "1",
            "VERCEL_TELEMETRY_DISABLED": "1",
            "VERCEL_PYTHON_COMPILEALL": "1",  # the platform does so by itself
        },
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Deployment(root=root, python=python, version=version)


def _read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text())
    return read
