"""Which kept picture a name stands for: asked of the ledger, or remembered as long as tiers may be trusted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from copperplate.denials import TakenDown
from copperplate.errors import NotFound
from copperplate.ledger_answers import Gone
from copperplate.ports.kept_pictures import KeptPictures
from copperplate.ports.ledger import Ledger
from copperplate.recipes.kinds import BUCKETS, KINDS
from copperplate.recipes.objects import KEY

if TYPE_CHECKING:
    from copperplate.ports.kept_pictures import KeptPicture
    from copperplate.tiers.tiers import Tiers

_OBJECT: Final = re.compile(r"(?:([a-z0-9-]{1,32})/)?[0-9]{4}/[0-9]{2}/[0-9a-f]{64}\.(?:jpg|png|webp|avif)")
_WHAT_IS_ONE: Final = (
    "A picture's id is a key of 64 lower-case hexadecimal digits, as in X-Copperplate-Generation-Key, or the name of "
    "its object, as in generated-images/2026/11/<64 digits>.webp."
)


class _Ledger(Ledger, KeptPictures, Protocol):
    """A ledger that knows kept pictures by name."""


async def find_kept_near(ledger: _Ledger, name: str, tiers: Tiers) -> KeptPicture:
    """The same as `find_kept`, remembered in memory for as long as copies of the picture are good."""
    if (known := await tiers.find_name(name)) is not None:
        return known
    fill = tiers.begin_fill()
    kept = await find_kept(ledger, name)
    tiers.keep_name(name, kept, fill)
    return kept


async def find_kept(ledger: _Ledger, name: str) -> KeptPicture:
    """The picture of that name. Raises `NotFound`, `TakenDown` for a key of what was taken down, `Unavailable`."""
    if not is_name(name):
        raise NotFound(_WHAT_IS_ONE)
    kept = await ledger.find_kept(name)
    if kept is None and KEY.fullmatch(name) and isinstance(await ledger.peek(name, name), Gone):
        raise TakenDown
    if kept is None or not KINDS[kept.kind].is_public:
        raise not_kept()
    return kept


def not_kept() -> NotFound:
    """The error for a name under which nothing is kept."""
    return NotFound("No picture of this id is kept. Pictures are made at /1024x1024.jpg?text=..., never here.")


def is_name(text: str) -> bool:
    """Whether this can be the name of a kept picture."""
    if KEY.fullmatch(text):
        return True
    found = _OBJECT.fullmatch(text)
    return found is not None and (found[1] is None or found[1] in BUCKETS)
