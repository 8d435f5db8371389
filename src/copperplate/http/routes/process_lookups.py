"""`GET /api/process…`: what can be done here, and which results of a picture are stored. Nothing is made.

Whether there is a result is told to everybody; its address and bytes only to those who had the picture's bytes: a hash
is not a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.access.owners import owner_of
from copperplate.access.visibility import may_see
from copperplate.denials import TakenDown
from copperplate.errors import MethodNotAllowed, NotFound
from copperplate.http.addresses import private_address
from copperplate.http.api import preflight
from copperplate.http.callers import caller_of
from copperplate.http.credentials import PARAMETER as KEY_PARAMETER
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.negotiation import prefers_picture
from copperplate.http.openapi import FOR_ANYBODY
from copperplate.http.parameters import note_known, refuse_unknown
from copperplate.http.problems import HEADERS
from copperplate.http.process_offers import operations_answer
from copperplate.http.process_requests import MODEL, known_names, operation_named, read_query
from copperplate.http.processed_answers import entry_fields, origin_fields, picture_answer, request_fields
from copperplate.http.schemas.process import KnownPicture, KnownResult, KnownUrls, OperationsAnswer
from copperplate.ledger_answers import Gone, Hit
from copperplate.model import Outcome, PictureRequest
from copperplate.recipes.kinds import PROCESSED
from copperplate.recipes.objects import original_key
from copperplate.recipes.processed import (
    AS_MADE,
    UNKNOWN_SIZE,
    processed_recipe,
    processed_request,
    read_digest,
    source_of,
)
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.access.caller import Caller
    from copperplate.errors import CopperplateError
    from copperplate.services import Services
    from copperplate.source_pictures import ProcessedResult

PATH: Final = "/api/process"
PREFLIGHT: Final = preflight("GET, HEAD, POST", "content-type", "idempotency-key", "prefer", "x-api-key")
# What stands where a SHA-256 does, and is for POST alone.
_POSTED: Final = frozenset({*Operation, "uploads"})
_NONE: Final = "No such result of this picture is stored. Send the picture to have it made."

router = APIRouter(dependencies=[Depends(no_store)])


@router.get(PATH, responses=PROBLEMS, tags=["process"], openapi_extra=FOR_ANYBODY)
@router.head(PATH, include_in_schema=False)
async def list_operations(services: ServicesDep) -> OperationsAnswer:
    """What can be done to pictures here: operations, their models with parameters and prices, and what is taken."""
    return operations_answer(services)


@router.get(f"{PATH}/{{sha256}}", responses=PROBLEMS, tags=["process"], openapi_extra=FOR_ANYBODY)
@router.head(f"{PATH}/{{sha256}}", include_in_schema=False)
async def look_at_picture(sha256: str, request: Request, services: ServicesDep) -> KnownPicture:
    """Which results of a picture are stored, by the SHA-256 of its bytes; 404 where none is.

    `urls` are for those who had the bytes: the newest result of each operation.
    """
    if sha256 in _POSTED:
        raise MethodNotAllowed("POST")
    caller = await caller_of(request.scope, services)
    digest = read_digest(sha256)
    results = await services.ledger.find_results(digest)
    if not results:
        raise await _why_none(digest, services)
    urls = None
    if await _is_owner(digest, caller, services):
        results, urls = await _verified(results, request, services)
    done = {result.operation.result_name for result in results}
    return KnownPicture(
        success=True,
        image_hash=digest,
        timestamp=max(result.created_at for result in results),
        urls=urls,
        **{operation.result_name: operation.result_name in done for operation in Operation},
    )


@router.get(
    f"{PATH}/{{operation}}/{{sha256}}",
    responses={200: {"model": KnownResult}, **PROBLEMS},
    tags=["process"],
    openapi_extra=FOR_ANYBODY,
)
@router.head(f"{PATH}/{{operation}}/{{sha256}}", include_in_schema=False)
async def look_at_result(operation: str, sha256: str, request: Request, services: ServicesDep) -> Response:
    """One result of a picture, by the SHA-256 of its bytes, `model` and its parameters; 404 where none is stored.

    Those who had the bytes are told its address, or answered with the picture where `Accept` prefers one. An unknown
    parameter is 400: without it, another result would be told.
    """
    asked = _request_of(operation_named(operation), read_digest(sha256), request, services)
    caller = await caller_of(request.scope, services)
    fields = request_fields(asked)
    if not await may_see(services.ledger, PROCESSED.name, asked.generation_key, caller):
        await _require_stored(asked, services)
        return _json(KnownResult(exists=True, **fields))
    entry = await services.processing.look(asked)
    if entry is None:
        raise await _why_none(source_of(asked.recipe), services)
    if request.method == "GET":
        # A hit, as one that waited for nothing: it spares a processing. What only asks whether it is there does not.
        services.request_meter.count(asked, Outcome.HIT, size_bytes=entry.size_bytes, seconds=0.0)
    if prefers_picture(request.scope["headers"]):
        return await picture_answer(request.scope, services, asked, entry, Outcome.HIT)
    fields |= await entry_fields(request.scope, services, entry)
    return _json(KnownResult(exists=True, **fields, **await _origin_of(asked, caller, services)))


@router.post(f"{PATH}/{{sha256}}", include_in_schema=False)
async def refuse_operation(sha256: str) -> Response:
    """Raises `NotFound`: operations have routes of their own, before this one."""
    operation_named(sha256)
    raise NotFound


@router.options(PATH, include_in_schema=False)
@router.options(f"{PATH}/{{sha256}}", include_in_schema=False)
@router.options(f"{PATH}/{{operation}}/{{sha256}}", include_in_schema=False)
async def answer_preflight() -> Response:
    """Any origin may ask: neither key nor token is a cookie, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


def _request_of(operation: Operation, digest: str, request: Request, services: Services) -> PictureRequest:
    known = known_names(services.processing.models, with_new=False)
    note_known(request.scope, known | {KEY_PARAMETER})
    refuse_unknown(request.scope)
    given = dict(read_query(request.scope["query_string"], known))
    model = services.processing.model_for(operation, given.pop(MODEL, None))
    return processed_request(processed_recipe(digest, model, given))


async def _is_owner(digest: str, caller: Caller, services: Services) -> bool:
    owner = owner_of(caller)
    known = None if owner is None else await services.ledger.find_source(digest, owner=owner)
    return known is not None and known.is_owned


async def _require_stored(asked: PictureRequest, services: Services) -> None:
    match await services.ledger.peek(asked.generation_key, asked.rendition_key):
        case Hit():
            return
        case Gone():
            raise TakenDown
        case _:
            raise await _why_none(source_of(asked.recipe), services)


async def _why_none(digest: str, services: Services) -> CopperplateError:
    """Nothing was made of this picture yet, or nothing may be: it was taken down, or what it comes from."""
    source = await services.ledger.find_source(digest, owner=None)
    if source is None:
        return TakenDown() if isinstance(await services.ledger.peek(digest, digest), Gone) else NotFound(_NONE)
    return TakenDown() if source.is_taken_down else NotFound(_NONE)


async def _origin_of(asked: PictureRequest, caller: Caller, services: Services) -> dict[str, Any]:
    source = await services.ledger.find_source(source_of(asked.recipe), owner=None)
    parent = None if source is None else source.picture.parent
    return await origin_fields(services, asked.generation_key, parent, caller)


async def _verified(
    results: Sequence[ProcessedResult], request: Request, services: Services
) -> tuple[list[ProcessedResult], KnownUrls]:
    """The newest of each operation whose object is there, with their addresses; `NotFound` where none is."""
    kept: dict[Operation, ProcessedResult] = {}
    urls: dict[str, str] = {}
    for result in results:
        if result.operation in kept:
            continue
        asked = _request_of_result(result)
        if (entry := await services.processing.look(asked)) is None:
            continue
        kept[result.operation] = result
        urls[result.operation.result_name], _ = await private_address(request.scope, services, entry)
    if not kept:
        raise NotFound(_NONE)
    return list(kept.values()), KnownUrls(**urls)


def _request_of_result(result: ProcessedResult) -> PictureRequest:
    """Its settings are in its key alone: enough to look it up."""
    recipe = {"kind": PROCESSED.name, "model": result.model}
    key = original_key(result.generation_key)
    return PictureRequest(
        kind=PROCESSED.name,
        recipe=recipe,
        generation_key=result.generation_key,
        rendition_key=key,
        rendition=AS_MADE,
        canvas=UNKNOWN_SIZE,
    )


def _json(answer: KnownResult) -> Response:
    return Response(answer.model_dump_json(), headers=HEADERS, media_type="application/json")
