"""Parents that callers declare: the kept picture that somebody's file was cut from. Declared, not proved.

Who may see the parent, and whether the rectangle can be one of it, is checked; the pixels are not compared.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.access.owners import owner_of
from copperplate.access.visibility import find_visible, may_see
from copperplate.ledger_answers import Hit
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_errors import InvalidParameter, SourceUnknown
from copperplate.source_pictures import Parent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from copperplate.access.caller import Caller
    from copperplate.ports import CreditLedger, KeptPictures, Ledger, SourcePictures
    from copperplate.source_pictures import Crop, LineageNode, SourcePicture

    class _Ledger(Ledger, CreditLedger, KeptPictures, SourcePictures, Protocol):
        """What is asked here."""


# In each direction, in px: who crops rounds.
TOLERANCE_PX: Final = 1
_NO_PARENT: Final = "No such parent is known here, or it is not for you to see. Send the file without it."
_NOT_THE_SAME: Final = (
    "The file is not the original that parent names, byte for byte. Send what /api/images/{key} answers, or name the "
    "rectangle of the parent as crop."
)
_CIRCLE: Final = "The parent was itself made from this file. Send the file without it."


async def find_parent(ledger: _Ledger, name: str, caller: Caller, crop: Crop | None = None) -> Parent:
    """The kept picture that a file comes from, by its key or another of its names.

    Without a rectangle the file is the picture itself: its digest is `Parent.digest`. Raises `SourceUnknown` where
    there is none that this caller may see, `InvalidParameter` for a rectangle outside.
    """
    kept = await find_visible(ledger, name, caller)
    if kept is None:
        raise SourceUnknown(_NO_PARENT)
    if crop is None:
        match await ledger.peek(kept.generation_key, kept.key):
            case Hit(entry=entry):
                return Parent(generation_key=kept.generation_key, digest=entry.digest)
            case _:
                raise SourceUnknown(_NO_PARENT)
    if crop.left + crop.width > kept.size.width or crop.top + crop.height > kept.size.height:
        raise InvalidParameter(f"The crop lies outside of its parent, which is {kept.size} px.")
    return Parent(generation_key=kept.generation_key, crop=crop)


async def check_parent(ledger: _Ledger, parent: Parent, picture: SourcePicture) -> None:
    """Whether a file can come from the parent that was declared for it.

    Raises `InvalidParameter` for a file that is not as large as its rectangle, within `TOLERANCE_PX`, one that is not
    the parent's own bytes where no rectangle is named, and one that the parent was made from.
    """
    crop, size = parent.crop, picture.size
    if crop is None and picture.digest != parent.digest:
        raise InvalidParameter(_NOT_THE_SAME)
    if crop is not None and max(abs(crop.width - size.width), abs(crop.height - size.height)) > TOLERANCE_PX:
        raise InvalidParameter(f"The file is {size} px, and the crop {crop.width}x{crop.height}.")
    above = await ledger.lineage(parent.generation_key, with_descendants=False)
    if picture.digest in {node.source for node in above}:
        raise InvalidParameter(_CIRCLE)


async def visible_ancestors(ledger: _Ledger, generation_key: str, caller: Caller) -> Sequence[LineageNode]:
    """The ancestors of a generation that this caller may see, the farthest first; no other's key is named in them."""
    nodes = await ledger.lineage(generation_key, with_descendants=False, owner=owner_of(caller))
    above = [node for node in nodes if node.depth < 0]
    seen = {
        node.generation_key
        for node in above
        # Of another kind is one at most, the first of all.
        if (
            node.is_owned
            if node.kind == PROCESSED.name
            else await may_see(ledger, node.kind, node.generation_key, caller)
        )
    }
    return [
        replace(
            node, parent=node.parent if node.parent in seen else None, crop=node.crop if node.parent in seen else None
        )
        for node in above
        if node.generation_key in seen
    ]
