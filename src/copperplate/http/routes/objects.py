"""Addresses of stored objects; where the store has none, this server answers at the paths Storage would."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response

from copperplate.access.object_tokens import seconds_left
from copperplate.adapters.object_paths import is_object_path
from copperplate.errors import NotFound, ObjectMissing
from copperplate.http import ranges
from copperplate.http.addresses import PREFIX, SIGNED_PREFIX, is_public
from copperplate.http.dependencies import PROBLEMS, ServicesDep
from copperplate.model import PictureFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.ports import ObjectStore

_SAFE: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
}
# An object is never changed, and its name cannot be guessed.
HEADERS: Final = {"cache-control": "public, max-age=3600, immutable", **_SAFE}
_MEDIA_TYPES: Final = {each.value: each.media_type for each in PictureFormat}
_NONE: Final = "There is no such object here."

router = APIRouter()


@router.api_route(
    PREFIX + "/{bucket}/{path:path}", methods=["GET", "HEAD"], responses=PROBLEMS, include_in_schema=False
)
async def serve_object(bucket: str, path: str, request: Request, services: ServicesDep) -> Response:
    """An object of a store that has no address of its own; Supabase Storage answers for itself.

    Of a private bucket nothing is answered, whoever asks.
    """
    store = services.stores.get(bucket)
    if store is None or not is_public(bucket) or not is_object_path(path) or store.public_url(path) is not None:
        raise NotFound(_NONE)
    return await _object_answer(request, store, path, HEADERS)


@router.api_route(
    SIGNED_PREFIX + "/{bucket}/{path:path}", methods=["GET", "HEAD"], responses=PROBLEMS, include_in_schema=False
)
async def serve_signed_object(
    bucket: str, path: str, request: Request, services: ServicesDep, token: str = ""
) -> Response:
    """A private object, for whoever has its address: the token permits it, and nothing else is asked.

    403 for a token that is none of ours, or is over, whether there is such an object or not.
    """
    store = services.stores.get(bucket)
    if store is None or is_public(bucket) or not is_object_path(path):
        raise NotFound(_NONE)
    left = seconds_left(token, await store.address_secret(), bucket, path, services.clock.now())
    headers = {"cache-control": f"private, max-age={left}", "content-disposition": "inline", **_SAFE}
    return await _object_answer(request, store, path, headers)


async def _object_answer(request: Request, store: ObjectStore, path: str, headers: Mapping[str, str]) -> Response:
    """The object, or the part of it that is asked for; an object is never changed, and has no other validator.

    Raises `NotFound` where nothing lies there that is shown (a gif is only kept to be processed), `UnsatisfiableRange`.
    """
    media_type = _MEDIA_TYPES.get(PurePosixPath(path).suffix[1:])
    if media_type is None:
        raise NotFound(_NONE)
    try:
        body = await store.get(path)
    except ObjectMissing:
        raise NotFound(_NONE) from None
    told, status = {**headers, "accept-ranges": "bytes"}, 200
    part = None if request.method == "HEAD" else ranges.part_of(request.scope["headers"], len(body), b"")
    if part is not None:
        told["content-range"], status = ranges.content_range(part, len(body)).decode(), 206
        body = body[part.start : part.stop]
    return Response(body, status, media_type=media_type, headers=told)
