"""Memoji, generations and credits of signed-in people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.accounts.user_requests import Delivered, Failed
    from copperplate.model import Entry


class MemojiAnswer(BaseModel):
    """Where a memoji is."""

    success: bool
    cached: bool = Field(description="True: it was there, and cost nothing")
    url: str = Field(description="Where anyone can load the picture, a PNG")
    key: str = Field(description="SHA-256 of the normalised configuration: `prompt_hash` in public.memoji_cache")
    credits: int = Field(description="Credits left when this was first answered")
    webp_url: str | None = Field(description="The same picture as WebP, about a tenth of the bytes; null: none is kept")
    webp_size_bytes: int | None
    display_url: str | None = Field(description="The picture in the form that display parameters asked for, if any did")

    @classmethod
    def of(cls, delivered: Delivered, url_of: Callable[[Entry], str], *, display_url: str | None) -> Self:
        """As it was delivered, at the addresses that its picture has now."""
        return cls(
            success=True,
            cached=delivered.cached,
            url=url_of(delivered.entry),
            key=delivered.entry.generation_key,
            credits=delivered.credits,
            **_webp(delivered, url_of),
            display_url=display_url,
        )


class PendingAnswer(BaseModel):
    """A memoji is being made; ask for it at `Location`."""

    success: bool
    status: Literal["generating"]
    key: str
    display_url: str | None = Field(description="Where the form asked for will be, if display parameters asked for one")


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
    webp_url: str | None = Field(default=None, description="The same picture as WebP, if one is kept")
    webp_size_bytes: int | None = None
    error: GenerationError | None = Field(default=None, description="Where it failed")

    @classmethod
    def completed(cls, delivered: Delivered, url_of: Callable[[Entry], str]) -> Self:
        """The picture is there."""
        return cls(
            success=True,
            status="completed",
            key=delivered.entry.generation_key,
            url=url_of(delivered.entry),
            **_webp(delivered, url_of),
        )


def _webp(delivered: Delivered, url_of: Callable[[Entry], str]) -> dict[str, Any]:
    webp = delivered.webp
    return {
        "webp_url": None if webp is None else url_of(webp),
        "webp_size_bytes": None if webp is None else webp.size_bytes,
    }


class CreditsOut(BaseModel):
    """Credits of one account."""

    balance: int
    held: int = Field(description="Reserved by pictures under way")
    available: int = Field(description="The rest, which can be spent")


class CreditsAnswer(BaseModel):
    """The credits of whoever is signed in."""

    success: bool
    credits: CreditsOut
