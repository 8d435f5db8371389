"""Where callers load the object of an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.http.origin import base_url_of
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

    from copperplate.model import Entry
    from copperplate.services import Services

# Where this server answers for a store that has no addresses of its own: the path that Storage would.
PREFIX: Final = "/storage/v1/object/public"
# Nothing lies there; it says whether a store has addresses at all.
_NOWHERE: Final = f"2000/01/{'0' * 64}.png"


def addresses_of(scope: Scope, services: Services) -> Callable[[Entry], str]:
    """Where the caller of this request can load the object of an entry, whatever its kind.

    Raises `InvalidHost` where that would be at a host that is not known to be ours: before anything is spent.
    """
    has_own = all(store.public_url(_NOWHERE) is not None for store in services.stores.values())
    base = "" if has_own else f"{base_url_of(scope, services.settings)}{PREFIX}"

    def address_of(entry: Entry) -> str:
        bucket = KINDS[entry.kind].bucket
        return services.stores[bucket].public_url(entry.path) or f"{base}/{bucket}/{entry.path}"

    return address_of


def picture_addresses(scope: Scope, services: Services) -> Callable[[Entry], str]:
    """Where the picture of an original is shown: at its object for kinds that are handed out so, else by its key.

    Raises `InvalidHost`.
    """
    base, object_of = base_url_of(scope, services.settings), addresses_of(scope, services)

    def address_of(original: Entry) -> str:
        if KINDS[original.kind].needs.address:
            return object_of(original)
        return f"{base}/api/images/{original.generation_key}"

    return address_of
