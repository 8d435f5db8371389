"""Addresses of stored objects; where the store has none, this server answers at the path Storage would."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response

from copperplate.adapters.object_paths import is_object_path
from copperplate.errors import NotFound, ObjectMissing
from copperplate.http.dependencies import PROBLEMS, ServicesDep
from copperplate.http.origin import base_url_of
from copperplate.http.routes.operations import NO_OBJECT
from copperplate.model import PictureFormat
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.model import Entry
    from copperplate.services import Services

PREFIX: Final = "/storage/v1/object/public"
# An object is never changed, and its name cannot be guessed.
HEADERS: Final = {
    "cache-control": "public, max-age=3600, immutable",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
}

router = APIRouter()


def addresses_of(request: Request, services: Services) -> Callable[[Entry], str]:
    """Where the caller of this request can load the object of an entry, whatever its kind.

    Raises `InvalidHost` where that would be at a host that is not known to be ours: before anything is spent.
    """
    has_own = all(store.public_url(NO_OBJECT) is not None for store in services.stores.values())
    base = "" if has_own else f"{base_url_of(request.scope, services.settings)}{PREFIX}"

    def address_of(entry: Entry) -> str:
        bucket = KINDS[entry.kind].bucket
        return services.stores[bucket].public_url(entry.path) or f"{base}/{bucket}/{entry.path}"

    return address_of


@router.api_route(
    PREFIX + "/{bucket}/{path:path}", methods=["GET", "HEAD"], responses=PROBLEMS, include_in_schema=False
)
async def serve_object(bucket: str, path: str, services: ServicesDep) -> Response:
    """An object of a store that has no address of its own; Supabase Storage answers for itself."""
    store = services.stores.get(bucket)
    if store is None or not is_object_path(path) or store.public_url(path) is not None:
        raise NotFound("There is no such object here.")
    try:
        body = await store.get(path)
    except ObjectMissing:
        raise NotFound("There is no such object here.") from None
    return Response(body, media_type=PictureFormat(PurePosixPath(path).suffix[1:]).media_type, headers=HEADERS)
