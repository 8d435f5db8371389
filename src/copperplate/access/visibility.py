"""Who may see a kept picture, load its bytes, and have it processed further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.access.owners import owner_of
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.serving.kept_names import is_name

if TYPE_CHECKING:
    from typing import Protocol

    from copperplate.access.caller import Caller
    from copperplate.ports import CreditLedger, KeptPictures, SourcePictures
    from copperplate.ports.kept_pictures import KeptPicture

    class _Ledger(CreditLedger, SourcePictures, Protocol):
        """What is asked here."""

    class _PictureLedger(CreditLedger, KeptPictures, SourcePictures, Protocol):
        """What is asked here of a name."""


async def may_see(ledger: _Ledger, kind: str, generation_key: str, caller: Caller) -> bool:
    """Whether a caller may see this picture: of a private kind only who asked for it, or had its source's bytes.

    Raises what the ledger raises.
    """
    if not KINDS[kind].is_private:
        return True
    if kind == PROCESSED.name:
        owner = owner_of(caller)
        return owner is not None and await ledger.may_see_processed(generation_key, owner)
    return caller.user is not None and await ledger.is_requested_by(caller.user.id, generation_key)


async def find_visible(ledger: _PictureLedger, name: str, caller: Caller) -> KeptPicture | None:
    """The kept picture of that name, where this caller may see it; None for everything else alike."""
    if not is_name(name):
        return None
    kept = await ledger.find_kept(name)
    is_visible = kept is not None and await may_see(ledger, kept.kind, kept.generation_key, caller)
    return kept if is_visible else None
