"""Who asks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A signed-in person, by the id that Supabase Auth gave them."""

    id: UUID
