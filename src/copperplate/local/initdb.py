"""Makes an empty cluster, or leaves nothing behind."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from copperplate.local.errors import ClusterError, ClusterFailed, DataFolderUnusable, DiskFull
from copperplate.local.passwords import Passwords

if TYPE_CHECKING:
    from pathlib import Path

    from copperplate.local.accounts import Account
    from copperplate.local.binaries import Binaries
    from copperplate.local.home import Home

SUPERUSER = "supabase_admin"
# The first major with a C.UTF-8 that is Postgres' own and the same on every system.
BUILTIN_LOCALE_MAJOR = 17


def initialise(home: Home, account: Account, binaries: Binaries) -> None:
    """Make the cluster of `home`: under another name first, so that a failure leaves none at all."""
    passwords = Passwords()
    shutil.rmtree(home.staging, ignore_errors=True)
    password_file = home.folder / "superuser.partial"
    try:
        home.staging.mkdir(mode=0o700)
        account.give(home.staging)
        _write_private(password_file, passwords.supabase_admin, account)
        _run_initdb(home, account, binaries, password_file)
        passwords.save(home.passwords)
        home.staging.rename(home.pgdata)
        _sync_folder(home.folder)
    except OSError as exc:
        shutil.rmtree(home.staging, ignore_errors=True)
        raise explain(exc.strerror or str(exc), home.folder) from exc
    except BaseException:  # Ctrl-C included
        shutil.rmtree(home.staging, ignore_errors=True)
        raise
    finally:
        password_file.unlink(missing_ok=True)


def read_major(pgdata: Path) -> int | None:
    """Return the major version that wrote `pgdata`, or None where there is no data."""
    try:
        return int((pgdata / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
    except (PermissionError, ValueError) as exc:
        message = f"{pgdata} cannot be read ({exc}): run as the user who made this cluster"
        raise DataFolderUnusable(message) from exc


def explain(output: str, folder: Path) -> ClusterError:
    """Return the error for what `initdb` or `postgres` said before it gave up."""
    tail = "\n".join(output.strip().splitlines()[-8:])
    if "No space left on device" in output:
        message = f"The disk of {folder} is full: free some space and start again. Nothing was lost.\n{tail}"
        return DiskFull(message)
    if "could not look up effective user ID" in output:
        message = f"Postgres needs a user that has a name: give user ID {os.geteuid()} one, or run as another.\n{tail}"
        return ClusterFailed(message)
    message = f"Postgres did not start in {folder}. It said:\n{tail or '(nothing)'}"
    return ClusterFailed(message)


def _run_initdb(home: Home, account: Account, binaries: Binaries, password_file: Path) -> None:
    locale = ["--locale=C"]
    if binaries.major >= BUILTIN_LOCALE_MAJOR:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    finished = account.run(
        [
            binaries.initdb,
            f"--pgdata={home.staging}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
            "--data-checksums",
            "--no-instructions",
        ]
    )
    if finished.returncode != 0:
        raise explain(f"{finished.stdout}\n{finished.stderr}", home.folder)


def _write_private(file: Path, text: str, account: Account) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    account.give(file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
