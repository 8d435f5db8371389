"""What became of a generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, Field

from copperplate.http.schemas.memoji import webp_of
from copperplate.http.schemas.placeholders import PlaceholderOut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.accounts.user_requests import Delivered, Failed
    from copperplate.model import Entry


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
    """A generation as it is now."""

    success: bool
    status: Literal["pending", "generating", "completed", "failed"] = Field(
        description="`pending`: it was promised, and nothing was sent to a provider yet"
    )
    key: str
    kind: str | None = Field(default=None, description="null: of a picture that is long gone", examples=["image"])
    url: str | None = Field(default=None, description="Once it is completed: the picture as its provider made it")
    url_expires_at: str | None = Field(
        default=None, description="Of a processed picture: until when its address is good (UTC)"
    )
    webp_url: str | None = Field(default=None, description="Of a memoji: the same picture as WebP, if one is kept")
    webp_size_bytes: int | None = None
    placeholder: PlaceholderOut | None = Field(default=None, description="What is shown until it has come, if known")
    error: GenerationError | None = Field(default=None, description="Where it failed")
    created_at: str | None = Field(default=None, description="When it was first asked for (UTC)")
    started_at: str | None = Field(default=None, description="When it was sent to a provider (UTC)")
    usual_seconds: float | None = Field(default=None, description="The median of this model's last pictures, if any")
    events: str | None = Field(
        default=None,
        description="Until it has ended: where its progress is streamed; of a memoji it can be opened for ten minutes",
    )

    @classmethod
    def of(cls, told: Mapping[str, Any], original: Entry | None) -> Self:
        """As it is told of everywhere (`told_of`), with the placeholder of its original."""
        placeholder = None if original is None else PlaceholderOut.of(original.placeholder)
        return cls(success=True, placeholder=placeholder, **told)

    @classmethod
    def completed(cls, told: Mapping[str, Any], delivered: Delivered, url_of: Callable[[Entry], str]) -> Self:
        """The picture of a signed-in person is there."""
        entry = delivered.entry
        sent = {**told, "status": "completed", "url": url_of(entry), "kind": entry.kind, "error": None}
        return cls.of({**sent, **webp_of(delivered, url_of)}, entry)

    @classmethod
    def failed(cls, told: Mapping[str, Any], failed: Failed) -> Self:
        """The last attempt at it failed."""
        return cls.of({**told, "status": "failed", "url": None, "error": GenerationError.of(failed)}, None)
