"""`POST /api/process/uploads`: where a file is uploaded to that is larger than what this server may be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.errors import InvalidBody
from copperplate.http.api import preflight
from copperplate.http.bodies import read_json_object
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.openapi import API_KEY, SESSION
from copperplate.http.parameters import refuse_unknown, refuse_unknown_members
from copperplate.http.schemas.uploads import UploadAnswer, UploadWish
from copperplate.processing.uploads import offer_upload, uploader

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/api/process/uploads"
PREFLIGHT: Final = preflight("POST", "content-type", "x-api-key")
BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": UploadWish.model_json_schema()}},
}
_CONTENT_TYPE: Final = "content_type is the media type of the file, as in image/jpeg."
_SIZE: Final = "size_bytes is the number of bytes that the file has, at least 1."

router = APIRouter(dependencies=[Depends(no_store)])


@router.post(
    PATH,
    responses=PROBLEMS,
    tags=["process"],
    openapi_extra={"requestBody": BODY, "security": [{API_KEY: []}, {SESSION: []}]},
)
async def start_upload(request: Request, services: ServicesDep) -> UploadAnswer:
    """Where to upload a picture to: straight to the store, past this server and what its platform lets through.

    For callers with a name who may have pictures processed. The file is sent there by a PUT with these headers, and
    processed then by its name, by the same caller: `{"upload": ...}`. What is never processed is removed after a day.
    """
    refuse_unknown(request.scope)
    caller = await caller_of(request.scope, services)
    owner = uploader(caller)
    services.processing.require_may_spend(caller)
    media_type, size_bytes = _read_wish(await read_json_object(request))
    store = services.processing.sources.store
    with request.app.state.wiring.upload_offers.one_for(owner):
        name, address = await offer_upload(
            store, caller, media_type=media_type, size_bytes=size_bytes, clock=services.clock
        )
    return UploadAnswer.of(name, address)


@router.options(PATH, include_in_schema=False)
async def answer_preflight() -> Response:
    """Any origin may ask: keys and tokens are no cookies, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


def _read_wish(body: Mapping[str, Any]) -> tuple[str, int]:
    """The media type and the size in bytes. Raises `InvalidBody`, `UnknownParameter`."""
    refuse_unknown_members(dict(body), UploadWish.model_fields)
    media_type, size_bytes = body.get("content_type"), body.get("size_bytes")
    if not isinstance(media_type, str):
        raise InvalidBody(_CONTENT_TYPE)
    if not isinstance(size_bytes, int) or isinstance(size_bytes, bool) or size_bytes < 1:
        raise InvalidBody(_SIZE)
    return media_type.partition(";")[0].strip().lower(), size_bytes
