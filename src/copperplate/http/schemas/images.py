"""What is known of a kept picture."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, Field

from copperplate.http.schemas.placeholders import PlaceholderOut
from copperplate.imaging.provenance import SOURCE_TYPE
from copperplate.model import PictureFormat
from copperplate.recipes.display import DEFAULT_QUALITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.ports.kept_pictures import KeptForm, KeptPicture, KeptPictureInfo


class OriginalOut(BaseModel):
    """The bytes as the provider made them."""

    format: str
    file_size: int
    c2pa: bool = Field(description="Whether the provider signed the picture's origin (C2PA)")


class WebpOut(BaseModel):
    """The whole picture as WebP."""

    url: str
    file_size: int


class ProvenanceOut(BaseModel):
    """Who made the picture: docs/provenance.md."""

    digital_source_type: str | None = Field(
        description="A term of IPTC for what the picture is; renditions carry it where COPPERPLATE_PROVENANCE is xmp. "
        "Null for an imported picture of which nobody says so",
        examples=[SOURCE_TYPE],
    )
    model: str | None = Field(description="That made it; null where nobody says so")
    c2pa: bool = Field(description="Whether the original carries its provider's signature")


class RenditionOut(BaseModel):
    """One kept form of the picture."""

    url: str
    width: int
    height: int
    format: str
    quality: int | None = Field(description="Null where the format has none")
    file_size: int


class ImageInfo(BaseModel):
    """A kept picture, and all its kept forms."""

    key: str = Field(description="Of the entry that the id stands for")
    generation_key: str
    kind: str = Field(examples=["image"])
    width: int = Field(description="Of the canvas, in px")
    height: int
    model: str
    created_at: datetime
    generation_ms: int | None = Field(description="Null where nobody measured it")
    original: OriginalOut
    webp: WebpOut | None
    placeholder: PlaceholderOut | None = Field(description="Null until the daily cleanup has made it")
    provenance: ProvenanceOut
    renditions: list[RenditionOut]
    url: str = Field(description="Of this entry; with `w`, `h`, `fit`, `q`, `thumb` and `format` of its other forms")

    @classmethod
    def of(cls, kept: KeptPicture, info: KeptPictureInfo, url_of: Callable[[str], str]) -> Self:
        """Everything that is known; `url_of` answers the address of an entry by its key."""
        renditions = [form for form in info.forms if not form.is_original]
        return cls(
            key=kept.key,
            generation_key=info.generation_key,
            kind=info.kind,
            width=info.canvas.width,
            height=info.canvas.height,
            model=info.model,
            created_at=info.created_at,
            generation_ms=info.generation_ms,
            original=OriginalOut(format=info.original.format, file_size=info.original.size_bytes, c2pa=info.has_c2pa),
            webp=_webp(renditions, url_of),
            placeholder=PlaceholderOut.of(info.placeholder),
            provenance=ProvenanceOut(
                digital_source_type=SOURCE_TYPE if info.is_ai_made else None,
                model=info.model if info.is_ai_made else None,
                c2pa=info.has_c2pa,
            ),
            renditions=[
                RenditionOut(
                    url=url_of(form.key),
                    width=form.size.width,
                    height=form.size.height,
                    format=form.format,
                    quality=form.quality,
                    file_size=form.size_bytes,
                )
                for form in renditions
            ],
            url=url_of(kept.key),
        )


def _webp(renditions: list[KeptForm], url_of: Callable[[str], str]) -> WebpOut | None:
    """Of the whole picture, in the quality nearest to the usual one."""
    whole = [form for form in renditions if form.format == PictureFormat.WEBP and not form.is_sized]
    if not whole:
        return None
    best = min(whole, key=lambda form: abs((form.quality or 0) - DEFAULT_QUALITY))
    return WebpOut(url=url_of(best.key), file_size=best.size_bytes)
