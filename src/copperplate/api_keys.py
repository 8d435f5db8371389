"""An API key as the ledger knows it. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


class Scope(StrEnum):
    """What an API key may do."""

    GENERATE = "generate"  # have pictures made
    PURGE = "purge"  # remove stored pictures
    ADMIN = "admin"  # read every budget and the metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that is neither revoked nor expired. `prefix` names it to people; the key itself is kept nowhere."""

    id: UUID
    prefix: str
    tier: str
    scopes: frozenset[Scope]
    # Whether it may stand in a page or an address: it spends what was set aside for it, and nothing else.
    is_visible: bool = False
