"""Placeholders, as answers have them."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from copperplate.model import Placeholder


class PlaceholderOut(BaseModel):
    """What is shown until the picture has come."""

    thumbhash: str = Field(description="In base64; docs/http.md says what draws it")
    color: str = Field(description="The dominant colour", examples=["#593e82"])

    @classmethod
    def of(cls, placeholder: Placeholder | None) -> Self | None:
        """None where it is not known yet."""
        if placeholder is None:
            return None
        return cls(thumbhash=b64encode(placeholder.thumbhash).decode(), color=placeholder.color)
