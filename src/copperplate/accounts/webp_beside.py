"""The WebP that is kept beside a picture: about a tenth of its bytes, so answers name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.errors import LedgerMisconfigured, LedgerUnavailable, StoreMisconfigured
from copperplate.generation.losses import is_lost
from copperplate.ledger_answers import Hit
from copperplate.model import PictureFormat
from copperplate.recipes.display import default_rendition
from copperplate.recipes.image import rendition_key

if TYPE_CHECKING:
    from copperplate.model import Entry
    from copperplate.ports import Ledger, ObjectStore


async def find_webp(original: Entry, *, ledger: Ledger, store: ObjectStore) -> Entry | None:
    """The WebP of the whole picture, if one is kept and its object is there; nothing is encoded.

    None as well where the ledger or the store cannot say so: the picture itself was found.
    """
    key = rendition_key(original.generation_key, default_rendition(PictureFormat.WEBP))
    try:
        match await ledger.peek(original.generation_key, key):
            case Hit(entry=entry) if entry.key == key and not await is_lost(entry, store=store, ledger=ledger):
                return entry
    except (LedgerUnavailable, LedgerMisconfigured, StoreMisconfigured):
        pass
    return None
