"""Objects of what the ledger has forgotten. Nobody shall load them any more."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from copperplate.errors import StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.ports import ObjectStore

logger = logging.getLogger(__name__)


async def remove_now(stores: Mapping[str, ObjectStore], objects: Sequence[tuple[str, str]]) -> None:
    """Remove objects, (bucket, path), without the grace of other removals; what fails is left to the next cleanup."""
    for bucket, store in stores.items():
        try:
            await store.remove([path for within, path in objects if within == bucket])
        except (StoreUnavailable, StoreMisconfigured) as error:
            logger.warning("purge: objects are left to the next cleanup: %s: %s", error.code, error)
