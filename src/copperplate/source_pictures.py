"""Pictures that somebody brings to be processed, and what is known of them. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from copperplate.model import PictureFormat, Size


# Nodes of a lineage that are told at most.
MAX_LINEAGE: Final = 1_000


class Operation(StrEnum):
    """What is done to a picture."""

    REMOVE_BACKGROUND = "remove-background"
    UPSCALE = "upscale"
    FACE_DETAIL = "face-detail"

    @property
    def result_name(self) -> str:
        """The member of JSON that stands for its result: `bgRemoved`, `upscaled`, `faceDetailed`."""
        match self:
            case Operation.REMOVE_BACKGROUND:
                return "bgRemoved"
            case Operation.UPSCALE:
                return "upscaled"
            case Operation.FACE_DETAIL:
                return "faceDetailed"


class Relation(StrEnum):
    """How the bytes of a source picture come from its parent."""

    SAME = "same"  # they are the parent's own
    CROPPED = "cropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A rectangle of a picture, in px from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The kept picture that a source picture comes from: its generation's key, and the rectangle where it is a crop.

    `digest`, of a parent that a caller declares without a rectangle, is what the file has to be.
    """

    generation_key: str
    crop: Crop | None = None
    digest: str | None = field(default=None, compare=False)

    @property
    def relation(self) -> Relation:
        """How the bytes come from it."""
        return Relation.SAME if self.crop is None else Relation.CROPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePicture:
    """A picture to be processed, as it came: `digest` is the SHA-256 of its bytes, `size` is upright, in px.

    `format` is what the bytes are, in lower case: jpg, png, webp, avif or gif.
    """

    digest: str
    format: str
    size: Size
    size_bytes: int
    parent: Parent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptInput:
    """A clean copy of a source picture in the store of processed pictures, for whoever processes it later."""

    path: str
    digest: str
    format: PictureFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSource:
    """What the ledger knows of a source picture.

    `is_owned`: the owner asked about had its bytes; `is_owned_alone`: and nobody else with a name. `is_taken_down`: it,
    or what it comes from, was taken down.
    """

    picture: SourcePicture
    is_owned: bool
    is_taken_down: bool
    is_owned_alone: bool = False
    kept_input: KeptInput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedResult:
    """One stored result of a source picture."""

    operation: Operation
    generation_key: str
    model: str
    parameters: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNode:
    """One picture of a lineage: a generation by its key.

    `source` is the digest of what it was made from, `parent` the generation that this comes from, `crop` the rectangle
    of it. All are None of a picture that was generated. `depth` counts steps from the picture asked about: negative for
    its ancestors, positive for its descendants. `is_owned`: the owner asked about had the bytes it was made from.
    """

    generation_key: str
    kind: str
    operation: Operation | None
    model: str
    source: str | None
    parent: str | None
    crop: Crop | None
    depth: int
    created_at: datetime
    is_owned: bool = False
