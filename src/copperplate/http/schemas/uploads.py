"""Direct uploads as answers have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, Field

from copperplate.processing.uploads import ENDINGS, MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from copperplate.model import UploadAddress


class UploadWish(BaseModel):
    """A file that is to be uploaded."""

    content_type: str = Field(examples=sorted(ENDINGS), description="The media type of the file")
    size_bytes: int = Field(ge=1, description=f"At most {MAX_UPLOAD_BYTES}; more is 413")


class UploadAnswer(BaseModel):
    """Where a file is uploaded to, once, and by what name it is processed then."""

    upload: str = Field(description='The name for `{"upload": ...}`, good for you alone, for a day')
    url: str
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(description="To be sent with the file")
    expires_at: str = Field(description="Until when the address is good (UTC)")
    max_bytes: int

    @classmethod
    def of(cls, name: str, address: UploadAddress) -> Self:
        """As it is answered to whoever asked for it."""
        return cls(
            upload=name,
            url=address.url,
            headers=dict(address.headers),
            expires_at=f"{address.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            max_bytes=MAX_UPLOAD_BYTES,
        )
