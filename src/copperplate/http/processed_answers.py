"""Results as they are answered: the picture, where Accept prefers one, or JSON that says where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import Response

from copperplate.errors import ObjectMissing, StoreUnavailable
from copperplate.http.addresses import private_address
from copperplate.http.problems import HEADERS
from copperplate.http.schemas.process import AncestorOut, CropOut
from copperplate.http.vercel import MAX_RESPONSE_BYTES
from copperplate.model import Outcome, PictureFormat
from copperplate.recipes.processed import parameters_of, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from copperplate.access.caller import Caller
    from copperplate.model import Entry, PictureRequest
    from copperplate.services import Services
    from copperplate.source_pictures import Parent

EXPOSED: Final = (
    "Location, Preference-Applied, Retry-After, X-Cache, X-Copperplate-Generation-Key, X-Copperplate-Ignored, "
    "X-Copperplate-Image-Hash"
)
# Who may see it depends on who asks.
PRIVATE: Final[Mapping[str, str]] = {
    **HEADERS,
    "cache-control": "private, no-store",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-expose-headers": EXPOSED,
}


async def picture_answer(
    scope: Scope, services: Services, request: PictureRequest, entry: Entry, outcome: Outcome
) -> Response:
    """The stored picture itself; on Vercel a larger one by its address. Raises `StoreUnavailable` where it is gone."""
    headers = {
        **PRIVATE,
        "x-cache": "HIT" if outcome is Outcome.HIT else "MISS",
        "x-copperplate-generation-key": entry.generation_key,
        "x-copperplate-image-hash": source_of(request.recipe),
    }
    if services.settings.on_vercel and entry.size_bytes > MAX_RESPONSE_BYTES:
        url, _ = await private_address(scope, services, entry)
        return Response(status_code=303, headers={**headers, "location": url})
    try:
        body = await services.processing.sources.store.get(entry.path)
    except ObjectMissing:
        await services.ledger.report_missing(entry)
        raise StoreUnavailable("the object store lost an object a moment ago") from None
    return Response(body, media_type=PictureFormat(entry.format).media_type, headers=headers)


async def origin_fields(
    services: Services, generation_key: str, parent: Parent | None, caller: Caller
) -> dict[str, Any]:
    """What a result was made from, as JSON has it: as far as this caller may see it, so no other's key is in it.

    Asked for only where there is any: a hit on what somebody photographed stays as cheap as it was.
    """
    if parent is None:
        return {"parent": None, "crop": None, "lineage": []}
    ancestors = await services.processing.sources.ancestors_of(generation_key, caller)
    is_seen = parent.generation_key in {node.generation_key for node in ancestors}
    return {
        "parent": parent.generation_key if is_seen else None,
        "crop": CropOut.of(parent.crop) if is_seen else None,
        "lineage": [AncestorOut.of(node) for node in ancestors],
    }


def request_fields(request: PictureRequest) -> dict[str, Any]:
    """What names a result, as JSON has it."""
    parameters = (parameter.partition("=") for parameter in parameters_of(request.recipe))
    return {
        "success": True,
        "key": request.generation_key,
        "image_hash": source_of(request.recipe),
        "operation": str(request.recipe["operation"]),
        "model": request.model,
        "parameters": {name: value for name, _, value in parameters},
    }


async def entry_fields(scope: Scope, services: Services, entry: Entry) -> dict[str, Any]:
    """Where a result is, and what it is, as JSON has it: for those who may see it."""
    url, expires_at = await private_address(scope, services, entry)
    return {
        "url": url,
        "url_expires_at": expires_at,
        "width": entry.width,
        "height": entry.height,
        "format": entry.format,
        "size_bytes": entry.size_bytes,
    }
