"""Where callers load the object of an entry: an address for good, or of a private one for ten minutes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.access.object_tokens import object_token
from copperplate.errors import ObjectMissing, StoreUnavailable
from copperplate.http.event_addresses import PARAMETER
from copperplate.http.origin import base_url_of
from copperplate.recipes.kinds import BUCKETS, KINDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.types import Scope

    from copperplate.model import Entry
    from copperplate.services import Services

# Where this server answers for a store that has no addresses of its own: the path that Storage would.
PREFIX: Final = "/storage/v1/object/public"
# The same for one private object, with a token.
SIGNED_PREFIX: Final = "/storage/v1/object/sign"
# So long an address of a private object is good: it is made for one answer, and never kept.
VALID_FOR: Final = timedelta(minutes=10)
# Nothing lies there; it says whether a store has addresses at all.
_NOWHERE: Final = f"2000/01/{'0' * 64}.png"


def addresses_of(scope: Scope, services: Services) -> Callable[[Entry], str]:
    """Where the caller of this request can load the object of an entry, of any public kind.

    Raises `InvalidHost` where that would be at a host that is not known to be ours: before anything is spent.
    """
    public = [store for bucket, store in services.stores.items() if is_public(bucket)]
    has_own = all(store.public_url(_NOWHERE) is not None for store in public)
    base = "" if has_own else f"{base_url_of(scope, services.settings)}{PREFIX}"

    def address_of(entry: Entry) -> str:
        if not KINDS[entry.kind].is_public:
            raise ValueError("an object of a private kind has no address for good")
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


def is_public(bucket: str) -> bool:
    """Whether objects of this bucket have addresses for good."""
    spec = BUCKETS.get(bucket)
    return spec is not None and spec.is_public


async def private_address(scope: Scope, services: Services, entry: Entry) -> tuple[str, datetime]:
    """Where whoever has the address can load the object of an entry of a private kind, and until when (UTC).

    Its caller has made sure that the object exists, and that this caller may see it. The address goes into this one
    answer, and into no log. Raises `InvalidHost` where the store has no addresses and the request's host is not known
    to be ours, `StoreUnavailable`, `StoreMisconfigured`.
    """
    store = services.stores[KINDS[entry.kind].bucket]
    # Whoever signs does so later: it is good for a moment longer than we say.
    expires_at = (services.clock.now() + VALID_FOR).replace(microsecond=0)
    try:
        url = await store.signed_url(entry.path, valid_for=VALID_FOR)
    except ObjectMissing:
        raise StoreUnavailable("the object store lost an object a moment ago") from None
    if url is None:
        token = object_token(await store.address_secret(), store.bucket, entry.path, expires_at)
        base = base_url_of(scope, services.settings)
        url = f"{base}{SIGNED_PREFIX}/{store.bucket}/{entry.path}?{PARAMETER}={token}"
    return url, expires_at
