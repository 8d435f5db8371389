"""Taking a picture down for good: the ledger first, then the stores, then every CDN."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from copperplate.operations.copies import forget_copies, remove_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.ports import Cdn, ObjectStore, Takedowns
    from copperplate.ports.takedowns import Takedown


async def take_down(
    ledger: Takedowns,
    key: str,
    *,
    reason: str | None = None,
    stores: Mapping[str, ObjectStore] = MappingProxyType({}),
    cdns: Sequence[Cdn] = (),
) -> Takedown:
    """Take a picture down; its objects and the CDNs' copies go at once.

    An object that a store does not remove is left to the next cleanup. Raises `LedgerUnavailable`, and what the first
    CDN that failed says, once all were asked: taking down again asks them again, and its copies end with their hour.
    """
    taken = await ledger.take_down(key, reason=reason)
    # The objects before the CDNs, which would else fetch them once more.
    await remove_now(stores, taken.objects)
    await forget_copies(cdns, taken.keys, taken.objects)
    return taken
