"""A picture that was verified, however it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import PictureFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A picture as the provider made it, or as it was given, decoded once, and what was found."""

    body: bytes = field(repr=False)
    usage: Mapping[str, int]
    facts: PictureFacts
    is_ai_made: bool = True
