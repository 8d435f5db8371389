"""Memoji, generations and credits of signed-in people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from copperplate.accounts.user_requests import Delivered, Failed


class MemojiAnswer(BaseModel):
    """Where a memoji is."""

    success: bool
    cached: bool = Field(description="True: it was there, and cost nothing")
    url: str = Field(description="Where anyone can load the picture, a PNG")
    key: str = Field(description="SHA-256 of the normalised configuration: `prompt_hash` in public.memoji_cache")
    credits: int = Field(description="Credits left when this was first answered")

    @classmethod
    def of(cls, delivered: Delivered, url: str) -> Self:
        """As it was delivered, at the address that its picture has now."""
        return cls(
            success=True,
            cached=delivered.cached,
            url=url,
            key=delivered.entry.generation_key,
            credits=delivered.credits,
        )


class PendingAnswer(BaseModel):
    """A memoji is being made; ask for it at `Location`."""

    success: bool
    status: Literal["generating"]
    key: str


class GenerationError(BaseModel):
    """Why a generation came to nothing."""

    code: str = Field(examples=["moderated"])
    detail: str
    retry_after_seconds: int = Field(description="Asking anew before this changes nothing")

    @classmethod
    def of(cls, failed: Failed) -> Self:
        """As the ledger remembers it."""
        return cls(
            code=failed.failure_class.value,
            detail=failed.failure_class.public_message,
            retry_after_seconds=round(failed.retry_after.total_seconds()),
        )


class GenerationAnswer(BaseModel):
    """What became of a generation."""

    success: bool
    status: Literal["generating", "completed", "failed"]
    key: str
    url: str | None = Field(default=None, description="Once it is completed")
    error: GenerationError | None = Field(default=None, description="Where it failed")


class CreditsOut(BaseModel):
    """Credits of one account."""

    balance: int
    held: int = Field(description="Reserved by pictures under way")
    available: int = Field(description="The rest, which can be spent")


class CreditsAnswer(BaseModel):
    """The credits of whoever is signed in."""

    success: bool
    credits: CreditsOut
