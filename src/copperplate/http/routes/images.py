"""What is known of kept pictures. The pictures themselves are answered before routing: `http/kept_pictures.py`."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.headers import PREFLIGHT
from copperplate.http.kept_pictures import INFO, PREFIX
from copperplate.http.origin import base_url_of
from copperplate.http.schemas.images import ImageInfo
from copperplate.serving.kept_names import find_kept, not_kept

PATH = f"{PREFIX}{{id:path}}{INFO}"
router = APIRouter(dependencies=[Depends(no_store)])


@router.get(PATH, responses=PROBLEMS, tags=["pictures"])
@router.head(PATH, include_in_schema=False)
async def describe_image(id: str, request: Request, services: ServicesDep) -> ImageInfo:  # noqa: A002 - as addresses name it
    """What is known of a kept picture: its model, its age, its placeholder, and every form of it that is kept.

    `id` is a key of 64 digits, as in `X-Copperplate-Generation-Key`, or the name of an object. 404 where it is not
    kept; nothing is made, and nothing is counted.
    """
    base = base_url_of(request.scope, services.settings)
    kept = await find_kept(services.ledger, id)
    info = await services.ledger.describe_kept(kept.generation_key)
    if info is None:
        raise not_kept()
    return ImageInfo.of(kept, info, lambda key: f"{base}{PREFIX}{key}")


@router.options(PATH, include_in_schema=False)
async def preflight() -> Response:
    """Any origin may ask, as for the picture."""
    return Response(status_code=204, headers={name.decode(): value.decode() for name, value in PREFLIGHT})
