"""Processing: what is answered, what is known of a picture, and what can be done here."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, Field

from copperplate.source_pictures import Operation  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from copperplate.source_pictures import Crop, LineageNode


class CropOut(BaseModel):
    """A rectangle of the parent, in px from its upper left corner."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, crop: Crop | None) -> Self | None:
        """None where the file is no crop."""
        if crop is None:
            return None
        return cls(left=crop.left, top=crop.top, width=crop.width, height=crop.height)


class AncestorOut(BaseModel):
    """A picture that a result was made from, directly or through others."""

    key: str = Field(description="Of its generation")
    kind: str
    operation: Operation | None = Field(description="null: it was generated")
    model: str
    image_hash: str | None = Field(description="SHA-256 of the picture that it was made from")
    parent: str | None = Field(description="Key of the generation whose picture that is, where you may see it")
    crop: CropOut | None = Field(description="The rectangle of it, where it is a crop")
    created_at: datetime

    @classmethod
    def of(cls, node: LineageNode) -> Self:
        """One node of a lineage."""
        return cls(
            key=node.generation_key,
            kind=node.kind,
            operation=node.operation,
            model=node.model,
            image_hash=node.source,
            parent=node.parent,
            crop=CropOut.of(node.crop),
            created_at=node.created_at,
        )


class ProcessedAnswer(BaseModel):
    """A result that is stored."""

    success: bool
    status: Literal["completed"]
    cached: bool = Field(description="True: it was there, and cost nothing")
    kind: Literal["processed"]
    key: str = Field(description='Of the result. `{"source": key}` has it processed further')
    image_hash: str = Field(description="SHA-256 of the picture that was processed, as its bytes came")
    operation: Operation
    model: str
    parameters: dict[str, str] = Field(description="Every one of the model's, defaults included")
    url: str = Field(description="Where the result can be loaded until `url_expires_at`, by whoever has the address")
    url_expires_at: datetime
    width: int = Field(description="Of the result, in px")
    height: int
    format: str = Field(examples=["png"], description="jpg, png or webp: as the model made it")
    size_bytes: int
    cost_usd: float | None = Field(description="What this request cost at the provider; null: no price is known")
    credits_left: int | None = Field(default=None, description="Where credits pay for this operation")
    parent: str | None = Field(default=None, description="Key of the generation that the picture comes from")
    crop: CropOut | None = Field(default=None, description="The rectangle of it, where it is a crop")
    lineage: list[AncestorOut] = Field(
        default_factory=list, description="What it was made from, as far as you may see it, the farthest first"
    )


class PromisedProcessing(BaseModel):
    """A result that is being made, or will be; what became of it is at `Location`."""

    success: bool
    status: Literal["pending", "generating"] = Field(description="`pending`: nothing was sent to a provider yet")
    kind: Literal["processed"]
    key: str
    image_hash: str
    operation: Operation
    model: str
    parameters: dict[str, str]
    events: str | None = Field(description="Where its progress is streamed; it can be opened for ten minutes")
    usual_seconds: float | None = Field(description="The median of this model's last results, if there are any")


class KnownUrls(BaseModel):
    """For whoever had the bytes: where the newest result of each operation can be loaded for ten minutes."""

    bgRemoved: str | None = None  # noqa: N815 - as answers name it
    upscaled: str | None = None
    faceDetailed: str | None = None  # noqa: N815


class KnownPicture(BaseModel):
    """Which results of a picture are stored."""

    success: bool
    image_hash: str
    bgRemoved: bool  # noqa: N815 - as answers name it
    upscaled: bool
    faceDetailed: bool  # noqa: N815
    timestamp: datetime = Field(description="When the newest of them was made (UTC)")
    urls: KnownUrls | None = Field(default=None, description="null: the caller is not known to have had the bytes")


class KnownResult(BaseModel):
    """One result that is stored."""

    success: bool
    exists: Literal[True]
    key: str
    image_hash: str
    operation: Operation
    model: str
    parameters: dict[str, str]
    url: str | None = Field(default=None, description="null: the caller is not known to have had the bytes")
    url_expires_at: datetime | None = None
    width: int | None = Field(default=None, description="Of the result, in px; with `url`, as the members below")
    height: int | None = None
    format: str | None = None
    size_bytes: int | None = None
    parent: str | None = Field(default=None, description="Key of the generation that the picture comes from")
    crop: CropOut | None = Field(default=None, description="The rectangle of it, where it is a crop")
    lineage: list[AncestorOut] | None = Field(
        default=None, description="What it was made from, as far as you may see it; with `url`, as the members above"
    )


class ParameterOut(BaseModel):
    """A parameter of a model: a number with its range, or one of some words."""

    name: str
    type: Literal["number", "choice"]
    default: str
    least: float | None = None
    most: float | None = None
    decimals: int | None = None
    choices: list[str] | None = None


class ModelOut(BaseModel):
    """A model that does an operation."""

    name: str
    parameters: list[ParameterOut]
    most_usd: float | None = Field(description="What a result costs at the provider at most; null: no price is known")


class OperationOut(BaseModel):
    """What can be done to a picture."""

    operation: Operation
    result: str = Field(examples=["bgRemoved"], description="Its member in what is known of a picture")
    credits: int = Field(description="What it costs a signed-in user in credits; 0: their budget pays")
    models: list[ModelOut] = Field(description="The first one is used where no `model` is named")


class LimitsOut(BaseModel):
    """What is taken."""

    max_file_bytes: int = Field(description="Of a picture in the body of a request")
    max_result_pixels: int
    media_types: list[str]
    urls: bool = Field(description="Whether pictures may be named by `url`")


class OperationsAnswer(BaseModel):
    """All operations; none where nobody processes pictures here."""

    success: bool
    operations: list[OperationOut]
    limits: LimitsOut
