"""Source pictures: who had their bytes, and what was made of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls
from copperplate.model import PictureFormat, Size
from copperplate.source_pictures import (
    MAX_LINEAGE,
    Crop,
    KeptInput,
    KnownSource,
    LineageNode,
    Operation,
    Parent,
    ProcessedResult,
    SourcePicture,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SourcePictureCalls(Calls):
    """`SourcePictures`."""

    async def note_source(self, picture: SourcePicture, *, owner: str | None) -> KnownSource:
        """See `SourcePictures.note_source`."""
        arguments = {
            "p_digest": picture.digest,
            "p_format": picture.format,
            "p_width": picture.size.width,
            "p_height": picture.size.height,
            "p_size_bytes": picture.size_bytes,
            "p_owner": owner,
            "p_parent_key": None if picture.parent is None else picture.parent.generation_key,
            "p_crop": None if picture.parent is None else _rectangle(picture.parent.crop),
        }
        return known_source_of(await self._transport.value("note_source", arguments, dict))

    async def find_source(self, digest: str, *, owner: str | None) -> KnownSource | None:
        """See `SourcePictures.find_source`."""
        row = await self._transport.value("find_source", {"p_digest": digest, "p_owner": owner}, object)
        return known_source_of(row) if isinstance(row, dict) else None

    async def keep_input(self, digest: str, kept: KeptInput) -> bool:
        """See `SourcePictures.keep_input`."""
        arguments = {
            "p_digest": digest,
            "p_path": kept.path,
            "p_kept_digest": kept.digest,
            "p_format": kept.format.value,
        }
        return await self._transport.value("keep_input", arguments, bool)

    async def find_results(self, digest: str) -> Sequence[ProcessedResult]:
        """See `SourcePictures.find_results`."""
        return [_result_of(row) for row in await self._transport.value("find_results", {"p_digest": digest}, list)]

    async def may_see_processed(self, generation_key: str, owner: str) -> bool:
        """See `SourcePictures.may_see_processed`."""
        arguments = {"p_generation_key": generation_key, "p_owner": owner}
        return await self._transport.value("may_see_processed", arguments, bool)

    async def lineage(
        self, key: str, *, with_descendants: bool = True, owner: str | None = None
    ) -> Sequence[LineageNode]:
        """See `SourcePictures.lineage`."""
        arguments = {
            "p_key": key,
            "p_limit": min(MAX_LINEAGE, self._transport.max_rows),
            "p_with_descendants": with_descendants,
            "p_owner": owner,
        }
        return [_node_of(row) for row in await self._transport.rows("lineage_of", arguments)]


def known_source_of(row: Mapping[str, Any]) -> KnownSource:
    """The answer of `find_source` and `note_source`."""
    picture = SourcePicture(
        digest=row["digest"],
        format=row["format"],
        size=Size(width=row["width"], height=row["height"]),
        size_bytes=row["size_bytes"],
        parent=None if row["parent_key"] is None else Parent(generation_key=row["parent_key"], crop=_crop(row["crop"])),
    )
    kept = None
    if row["kept_path"] is not None:
        kept = KeptInput(path=row["kept_path"], digest=row["kept_digest"], format=PictureFormat(row["kept_format"]))
    return KnownSource(
        picture=picture,
        is_owned=row["is_owned"],
        is_owned_alone=row["is_owned_alone"],
        is_taken_down=row["is_taken_down"],
        kept_input=kept,
    )


def _result_of(row: Mapping[str, Any]) -> ProcessedResult:
    return ProcessedResult(
        operation=Operation(row["operation"]),
        generation_key=row["generation_key"],
        model=row["model"],
        parameters=tuple(row["parameters"]),
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def _node_of(row: Mapping[str, Any]) -> LineageNode:
    created_at = row["created_at"]
    return LineageNode(
        generation_key=row["key"],
        kind=row["kind"],
        operation=None if row["operation"] is None else Operation(row["operation"]),
        model=row["model"],
        source=row["image_hash"],
        parent=row["parent_key"],
        crop=_crop(row["crop"]),
        depth=row["depth"],
        created_at=created_at if isinstance(created_at, datetime) else datetime.fromisoformat(created_at),
        is_owned=row["is_owned"],
    )


def _crop(rectangle: Sequence[int] | None) -> Crop | None:
    if rectangle is None:
        return None
    left, top, width, height = rectangle
    return Crop(left=left, top=top, width=width, height=height)


def _rectangle(crop: Crop | None) -> list[int] | None:
    return None if crop is None else [crop.left, crop.top, crop.width, crop.height]
