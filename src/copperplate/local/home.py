"""Where a data folder keeps its cluster, and where that cluster's sockets are."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from copperplate.local.errors import DataFolderUnusable, SocketFolderRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.local.accounts import Account

FOLDER_NAME = "postgres"
POINTER_NAME = "postgres.location"
# For people who find the folder and wonder whose it is.
BACK_POINTER_NAME = "belongs-to"
LOCK_NAME = "postgres.lock"
OUTSIDE_ROOT = Path("/var/lib/copperplate")
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# The kernel's sockaddr_un, less the final zero byte.
SOCKET_PATH_MAX_BYTES = 103 if sys.platform == "darwin" else 107
# Postgres and libpq read a list where a path has commas, and each has its own quoting.
PLAIN_PATH = re.compile(r"[\w./@+~=:-][\w ./@+~=:-]*[\w./@+~=:-]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The folder of one cluster; ours, with `data` and `run` inside belonging to Postgres' user."""

    folder: Path

    @property
    def pgdata(self) -> Path:
        """The data directory of Postgres."""
        return self.folder / "data"

    @property
    def staging(self) -> Path:
        """Where initdb works, so that a half-made cluster never has the final name."""
        return self.folder / "data.partial"

    @property
    def passwords(self) -> Path:
        """The file with the passwords."""
        return self.folder / "passwords.json"

    @property
    def log(self) -> Path:
        """What Postgres says."""
        return self.folder / "postgres.log"

    @property
    def run(self) -> Path:
        """The folder of the sockets, where the path is short enough."""
        return self.folder / "run"

    @property
    def shelf(self) -> Path:
        """Copies of the binaries, where Postgres' user cannot reach the original."""
        return self.folder / "binaries"


def find_home(data_dir: Path) -> Home | None:
    """Return where the cluster of `data_dir` is, or None where it has none yet."""
    pointer = data_dir / POINTER_NAME
    inside = Home(folder=data_dir / FOLDER_NAME)
    try:
        if not pointer.exists():
            return inside if inside.pgdata.exists() else None
        outside = Home(folder=Path(pointer.read_text().strip()))
    except PermissionError as exc:
        message = f"{exc.filename} cannot be read: run as the user who owns {data_dir}"
        raise DataFolderUnusable(message) from exc
    if not outside.folder.is_dir():
        message = (
            f"The database of {data_dir} is in {outside.folder}, which does not exist: restore that folder, "
            f"or remove {pointer} to start anew"
        )
        raise DataFolderUnusable(message)
    return outside


def make_home(data_dir: Path, account: Account, announce: Callable[[str], None]) -> Home:
    """Make the folder of a new cluster: in `data_dir`, or outside it where `account` cannot go there."""
    inside = Home(folder=data_dir / FOLDER_NAME)
    make_folder(inside.folder, 0o711 if account.is_other else 0o700)
    if not account.is_other or account.can_enter(inside.folder):
        return inside
    with suppress(OSError):  # Not ours to empty, should anything be in it.
        inside.folder.rmdir()
    return _make_outside(data_dir, account, announce)


def make_folder(folder: Path, mode: int) -> None:
    """Make `folder` with exactly `mode`, whatever the umask; an existing one stays as it is."""
    if not folder.exists():
        folder.mkdir(mode=mode)
        folder.chmod(mode)


def make_socket_folder(home: Home, account: Account) -> Path:
    """Return a private folder for the sockets whose paths fit into a socket address."""
    name = f"copperplate-{path_hash(home.folder)}"
    for folder in (home.run, Path(tempfile.gettempdir()) / name, Path("/tmp") / name):  # noqa: S108  # checked below
        if not _fits(folder) or (account.is_other and not account.can_enter(folder.parent)):
            continue
        make_private(folder, account)
        return folder
    message = (
        f"No folder for the database's sockets is short enough (at most {SOCKET_PATH_MAX_BYTES} bytes with the file "
        f"name): tried {home.run} and {tempfile.gettempdir()}. Set TMPDIR or COPPERPLATE_DATA_DIR to a shorter path"
    )
    raise SocketFolderRefused(message)


def make_private(folder: Path, account: Account) -> None:
    """Make `folder` `account`'s alone, or make sure that it is: in a shared /tmp anyone may have made it."""
    try:
        folder.mkdir(mode=0o700)
        account.give(folder)
    except FileExistsError:
        status = folder.lstat()
        is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if not is_private or status.st_uid != account.uid:
            message = (
                f"{folder} exists but is not a private folder of user {account.name}. Somebody else may have made it: "
                "look at it, remove it, and start again; or set TMPDIR to a folder of your own"
            )
            raise SocketFolderRefused(message) from None


def path_hash(path: Path) -> str:
    """Return a short, stable name for `path`."""
    return sha256(os.fsencode(path.resolve())).hexdigest()[:16]


def _fits(folder: Path) -> bool:
    path = str(folder / SOCKET_NAME)
    return len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES and bool(PLAIN_PATH.fullmatch(path))


def _make_outside(data_dir: Path, account: Account, announce: Callable[[str], None]) -> Home:
    folder = OUTSIDE_ROOT / path_hash(data_dir)
    # Without a pointer this is a new start; what an earlier folder of the same name left is kept, not revived.
    earlier = []
    while folder.exists():
        earlier.append(folder)
        folder = OUTSIDE_ROOT / f"{path_hash(data_dir)}-{len(earlier)}"
    try:
        make_folder(OUTSIDE_ROOT, 0o755)
        make_folder(folder, 0o711)
        (folder / BACK_POINTER_NAME).write_text(f"{data_dir}\n")
        (data_dir / POINTER_NAME).write_text(f"{folder}\n")
    except OSError as exc:
        message = (
            f"Postgres runs as user {account.name}, who cannot enter {data_dir}, and {folder} cannot be made "
            f"({exc.strerror}). Set COPPERPLATE_DATA_DIR to a folder below one that everybody may enter"
        )
        raise DataFolderUnusable(message) from exc
    announce(f"User {account.name} cannot enter {data_dir}: the database is in {folder}")
    if earlier:
        announce(f"Left from an earlier {data_dir} and no longer used: {', '.join(map(str, earlier))}")
    return Home(folder=folder)
