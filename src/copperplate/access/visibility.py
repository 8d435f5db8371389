"""Who may see a kept picture, load its bytes, and have it processed further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.access.owners import owner_of
from copperplate.recipes.kinds import KINDS, PROCESSED

if TYPE_CHECKING:
    from typing import Protocol

    from copperplate.access.caller import Caller
    from copperplate.ports import CreditLedger, SourcePictures

    class _Ledger(CreditLedger, SourcePictures, Protocol):
        """What is asked here."""


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
