"""API keys as the ledger keeps them: by digest, with what they may do and spend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from copperplate.api_keys import ApiKey, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class KeyState(StrEnum):
    """Whether a key is in force, or why not."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ROTATED = "rotated"  # replaced, and the grace is over


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key to be kept: the prefix that names it, and the SHA-256 of the whole of it in hex.

    A cap of None is not set. Of a visible key without any cap both are zero: it spends what is set aside for it.
    """

    prefix: str
    digest: str
    name: str
    tier: str
    scopes: frozenset[Scope]
    is_visible: bool = False
    expires_in: timedelta | None = None
    cap_micro_usd: int | None = None
    cap_pictures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRecord(ApiKey):
    """A key as operators see it, in force or not.

    `last_used_at` is true to the hour. `previous_until` is when the key before the last rotation ends.
    """

    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    previous_until: datetime | None
    cap_micro_usd: int | None
    cap_pictures: int | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ApiKeyRecord:
        """The answer of `describe_api_key`."""
        return cls(
            id=UUID(row["id"]),
            prefix=row["prefix"],
            name=row["name"],
            tier=row["tier"],
            scopes=frozenset(map(Scope, row["scopes"])),
            is_visible=row["is_visible"],
            created_at=datetime.fromisoformat(row["created_at"]),
            expires_at=_time(row["expires_at"]),
            revoked_at=_time(row["revoked_at"]),
            last_used_at=_time(row["last_used_at"]),
            previous_until=_time(row["previous_until"]),
            cap_micro_usd=row["cap_micro_usd"],
            cap_pictures=row["cap_pictures"],
        )

    def state(self, now: datetime) -> KeyState:
        """Whether the newest key of this prefix is in force."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        return KeyState.EXPIRED if self.expires_at is not None and self.expires_at <= now else KeyState.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundApiKey:
    """The key of a digest, and how long this very digest is good by the ledger's clock (None: without end)."""

    key: ApiKeyRecord
    state: KeyState
    left: timedelta | None


class ApiKeys(Protocol):
    """Keys by digest. Every method may be repeated for the same answer."""

    async def create_api_key(self, new: NewApiKey) -> ApiKeyRecord:
        """Keep a key with its caps. Refused where its prefix or digest is another key's."""

    async def find_api_key(self, digest: str) -> FoundApiKey | None:
        """The key with this digest, in force or not. Notes its use, once an hour at most."""

    async def list_api_keys(self) -> Sequence[ApiKeyRecord]:
        """Every key, the oldest first; those that were revoked are among them."""

    async def rotate_api_key(self, prefix: str, digest: str, grace: timedelta) -> ApiKeyRecord | None:
        """Replace a key's digest; the one before is good for `grace` more, and earlier ones are not.

        None where no key of this prefix is in force.
        """

    async def revoke_api_key(self, prefix: str) -> ApiKeyRecord | None:
        """End a key for good, with all of its digests, and let it spend nothing from this moment on. None: unknown."""


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
