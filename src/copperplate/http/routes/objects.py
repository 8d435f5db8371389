"""Addresses of stored objects; where the store has none, this server answers at the path Storage would."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from fastapi import APIRouter, Response

from copperplate.adapters.object_paths import is_object_path
from copperplate.errors import NotFound, ObjectMissing
from copperplate.http.addresses import PREFIX
from copperplate.http.dependencies import PROBLEMS, ServicesDep
from copperplate.model import PictureFormat

# An object is never changed, and its name cannot be guessed.
HEADERS: Final = {
    "cache-control": "public, max-age=3600, immutable",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
}

router = APIRouter()


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
