"""Errors."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it

from pydantic import BaseModel, Field


class ProblemOut(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:copperplate:error:invalid_size"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable and machine-readable", examples=["invalid_size"])


class SpendingProblemOut(ProblemOut):
    """A budget has no room for a picture that has to be made; null where the budget has no such cap."""

    budget: str = Field(
        description="`all`, `anonymous`, `address` (yours), or `user`, `key`, `link`, `provider` or `model`, a colon "
        "and which; after `prepaid/` one that is never reset",
        examples=["anonymous"],
    )
    left_usd: float | None = Field(description="Less than the picture costs, where money is what lacks")
    left_pictures: int | None
    resets_at: datetime | None = Field(description="When it is reset; null for a prepaid budget")
