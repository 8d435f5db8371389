"""The passwords of the embedded cluster: random, made once, kept in one private file."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Self

from copperplate.local.errors import ClusterError, DataFolderUnusable

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD_BYTES = 24
SALT_BYTES = 16


def _generate() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """One password for each role that may log in."""

    supabase_admin: str = field(default_factory=_generate, repr=False)
    postgres: str = field(default_factory=_generate, repr=False)
    authenticator: str = field(default_factory=_generate, repr=False)

    @property
    def jwt_secret(self) -> str:
        """What tokens for the server over this cluster are signed with; as lasting as the passwords."""
        return hashlib.sha256(f"tokens of {self.postgres}".encode()).hexdigest()

    def of(self, role: str) -> str:
        """Return the password of `role`."""
        names = [f.name for f in fields(self)]
        if role not in names:
            message = f"Role {role} cannot log in to the embedded cluster; these can: {', '.join(names)}"
            raise ClusterError(message)
        return str(getattr(self, role))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the passwords of an existing cluster."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError as exc:
            message = f"{file} is missing, and without it the database beside it cannot be opened: restore that file"
            raise DataFolderUnusable(message) from exc
        except OSError as exc:
            message = f"{file} cannot be read ({exc.strerror}): run as the user who made this cluster"
            raise DataFolderUnusable(message) from exc

    def save(self, file: Path) -> None:
        """Write the file in one step, readable by us alone."""
        partial = file.with_name(f"{file.name}.partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(asdict(self), stream)
            stream.flush()
            os.fsync(descriptor)
        partial.replace(file)


def scram_verifier(password: str) -> str:
    """What Postgres keeps of a password (RFC 5802, section 3), made with one iteration.

    More iterations slow down whoever guesses passwords. A random one of 192 bits is not guessed, and each connection
    would pay for them: 4,096, as libpq makes them, are 9 ms of processor time.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations=1)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    kept = (base64.b64encode(each).decode() for each in (salt, hashlib.sha256(client).digest(), server))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*kept)
