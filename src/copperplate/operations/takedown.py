"""Taking a picture down for good: the ledger first, then the stores. CDNs are told from its outbox."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from copperplate.operations.copies import remove_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.ports import ObjectStore, Takedowns
    from copperplate.ports.takedowns import Takedown


async def take_down(
    ledger: Takedowns,
    key: str,
    *,
    reason: str | None = None,
    stores: Mapping[str, ObjectStore] = MappingProxyType({}),
) -> Takedown:
    """Take a picture down with all that was made from it; its objects go at once.

    More descendants than one call removes are removed by further ones. An object that a store does not remove is left
    to the next cleanup. Taking down again tells CDNs again. Raises `LedgerUnavailable`.
    """
    taken = last = await ledger.take_down(key, reason=reason)
    while not last.is_whole and last.generations:
        last = await ledger.take_down(key, reason=reason)
        taken = _sum(taken, last)
    await remove_now(stores, taken.objects)
    return taken


def _sum(first: Takedown, further: Takedown) -> Takedown:
    """What two calls removed; the second names the objects of both."""
    return replace(
        first,
        generations=first.generations + further.generations,
        descendants=first.descendants + further.descendants,
        is_whole=further.is_whole,
        images=first.images + further.images,
        size_bytes=first.size_bytes + further.size_bytes,
        keys=(*first.keys, *further.keys),
        objects=further.objects,
    )
