"""Errors."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ProblemOut(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:copperplate:error:invalid_size"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable and machine-readable", examples=["invalid_size"])
