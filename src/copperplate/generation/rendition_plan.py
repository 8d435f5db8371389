"""Which renditions are stored beside an original: named before they are made, so that they can be written ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.model import RenditionUpload
from copperplate.recipes.display import default_rendition
from copperplate.recipes.image import rendition_key
from copperplate.recipes.objects import object_path, original_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from copperplate.model import PictureFormat, PictureRequest, Rendition, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRendition:
    """One rendition that is about to be made, and the path of its object. `is_ahead`: no caller asked for it."""

    key: str
    path: str
    rendition: Rendition
    size: Size
    is_ahead: bool

    def as_upload(self, *, digest: str, size_bytes: int, encoder_version: int) -> RenditionUpload:
        """The same, encoded to bytes of this digest."""
        return RenditionUpload(
            key=self.key,
            path=self.path,
            digest=digest,
            size_bytes=size_bytes,
            format=self.rendition.format,
            width=self.size.width,
            height=self.size.height,
            quality=self.rendition.quality,
            is_sized=self.rendition.size is not None,
            encoder_version=encoder_version,
        )


def plan_renditions(
    request: PictureRequest, ahead: Sequence[PictureFormat], *, original_digest: str, now: datetime, fence: int
) -> tuple[PlannedRendition, ...]:
    """The rendition asked for, unless that is the original, and the whole canvas in each format of `ahead`.

    Each key once, the one asked for first. A path is made of the original's digest, the key and the fence: nobody
    guesses it, and no two attempts share it.
    """
    generation = request.generation_key
    forms: dict[str, Rendition] = {}
    if request.rendition_key != original_key(generation):
        forms[request.rendition_key] = request.rendition
    for each in map(default_rendition, ahead):
        forms.setdefault(rendition_key(generation, each), each)
    return tuple(
        PlannedRendition(
            key=key,
            path=object_path(now, original_digest, key, str(fence), rendition.format),
            rendition=rendition,
            size=rendition.size or request.canvas,
            is_ahead=key != request.rendition_key,
        )
        for key, rendition in forms.items()
    )
