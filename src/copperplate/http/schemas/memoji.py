"""Memoji and credits of signed-in people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, Field

from copperplate.http.schemas.placeholders import PlaceholderOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.accounts.user_requests import Delivered
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
    placeholder: PlaceholderOut | None = Field(description="What is shown until the picture has come, if it is known")
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
            **webp_of(delivered, url_of),
            placeholder=PlaceholderOut.of(delivered.entry.placeholder),
            display_url=display_url,
        )


class PendingAnswer(BaseModel):
    """A memoji is being made; ask for it at `Location`."""

    success: bool
    status: Literal["pending", "generating"]
    key: str
    events: str | None = Field(description="Where its progress is streamed; it can be opened for ten minutes")
    display_url: str | None = Field(description="Where the form asked for will be, if display parameters asked for one")


def webp_of(delivered: Delivered, url_of: Callable[[Entry], str]) -> dict[str, Any]:
    """Where the WebP beside a memoji is, and its bytes, by the names that answers give to them."""
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
