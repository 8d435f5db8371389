"""The system user Postgres runs as: whoever runs us, or a lesser one for root, whom Postgres refuses."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from copperplate.local.errors import ClusterFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROOT_UID = 0
RUN_TIMEOUT_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A system user; `is_other` where our own processes run as root and change to it."""

    name: str
    uid: int
    gid: int
    is_other: bool

    @classmethod
    def from_uid(cls, uid: int) -> Self:
        """Return the user with this id, which containers do not always list in /etc/passwd."""
        is_other = uid != os.geteuid()
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(name=str(uid), uid=uid, gid=uid if is_other else os.getegid(), is_other=is_other)
        return cls(name=entry.pw_name, uid=uid, gid=entry.pw_gid if is_other else os.getegid(), is_other=is_other)

    @property
    def spawn_uid(self) -> int | None:
        """What `subprocess` takes as `user`."""
        return self.uid if self.is_other else None

    @property
    def spawn_gid(self) -> int | None:
        """What `subprocess` takes as `group`."""
        return self.gid if self.is_other else None

    @property
    def spawn_groups(self) -> list[int] | None:
        """What `subprocess` takes as `extra_groups`: root's own are not passed on."""
        return [] if self.is_other else None

    def run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run `command` as this user to its end, from `/`, which every user may enter."""
        return subprocess.run(  # noqa: S603  # our own programs and arguments
            command,
            cwd="/",
            env=child_environment(),
            user=self.spawn_uid,
            group=self.spawn_gid,
            extra_groups=self.spawn_groups,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=RUN_TIMEOUT_SECONDS,
        )

    def can_enter(self, folder: Path) -> bool:
        """Whether this user may enter `folder`, found by trying: modes alone miss ACLs and mounts."""
        return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0

    def can_execute(self, program: Path) -> bool:
        """Whether this user may run `program --version`, found by trying."""
        try:
            return self.run([program, "--version"]).returncode == 0
        except OSError:
            return False

    def give(self, path: Path) -> None:
        """Make `path` belong to this user."""
        if self.is_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose_account(pgdata: Path | None) -> Account:
    """Return who Postgres runs as: us; or, for root, the owner of `pgdata`, else postgres, else nobody."""
    if os.geteuid() != ROOT_UID:
        return Account.from_uid(os.geteuid())
    owner_uid = pgdata.stat().st_uid if pgdata is not None and pgdata.exists() else ROOT_UID
    if owner_uid != ROOT_UID:
        return Account.from_uid(owner_uid)
    for name in ("postgres", "nobody"):
        try:
            return Account.from_uid(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    message = (
        "Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`: run as another user"
    )
    raise ClusterFailed(message)


def child_environment() -> dict[str, str]:
    """Return our environment without what changes how Postgres behaves (PG*, locale, time zone)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_")) and k not in {"LANG", "TZ"}}
    return {**kept, "LC_ALL": "C"}
