"""Declaring pictures wrong: the ledger forgets them at once, then the stores. CDNs are told from its outbox."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from copperplate.operations.copies import remove_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import Condition
    from copperplate.ports import Maintenance, ObjectStore

ROWS: Final = 500  # one statement stays well below the database's time limit
ALL: Final = 2**31 - 1


async def purge(
    ledger: Maintenance,
    condition: Condition,
    *,
    is_dry_run: bool,
    with_pinned: bool = False,
    with_children: bool = False,
    stores: Mapping[str, ObjectStore] = MappingProxyType({}),
) -> dict[str, Any]:
    """Declare pictures wrong: the ledger forgets them at once, then the stores (by bucket).

    Answers `generations`, `images`, `bytes`, `children`, what was made from them, which goes only with children, and
    `pinned`: the generations that were left, as they are pinned. A dry run with children has their `tree`, the first
    200 generations of it. A purge without children counts them only in a dry run, and tells of none where there is
    none. The ledger's feed and its outbox tell processes and CDNs. An object that a store does not remove is left to
    the next cleanup. Raises `LedgerUnavailable`, and purging again goes on.
    """
    sums, objects = Counter[str](), list[tuple[str, str]]()
    try:
        while True:
            # A real purge comes to its end in steps; a dry run counts everything in one.
            batch = await ledger.purge(
                condition,
                ALL if is_dry_run else ROWS,
                is_dry_run=is_dry_run,
                with_pinned=with_pinned,
                with_children=with_children,
            )
            sums.update(
                generations=batch.generations,
                images=batch.images,
                bytes=batch.size_bytes,
                children=min(batch.children, batch.generations) if with_children else batch.children,
                pinned=batch.pinned_children,
            )
            objects += batch.objects
            if is_dry_run or not batch.has_more:
                figures: dict[str, Any] = {name: sums[name] for name in ("generations", "images", "bytes")}
                figures["pinned"] = sums["pinned"] + batch.pinned
                if with_children or sums["children"]:
                    figures["children"] = sums["children"]
                if is_dry_run and with_children:
                    figures["tree"] = [asdict(node) for node in batch.tree]
                return figures
    finally:
        # Once, and after the ledger: what is asked for meanwhile must not come back.
        if objects:
            await remove_now(stores, objects)
