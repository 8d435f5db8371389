"""Batches: what became of their members, and how one is canceled. `POST /api/generate` makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from copperplate.access.owners import owner_of
from copperplate.denials import NotOwner
from copperplate.errors import NotFound, Unauthorized
from copperplate.http.api import BATCH_ID, PAGE, RETRY_SECONDS, preflight
from copperplate.http.batches import keep_batch
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.event_addresses import batch_events
from copperplate.http.openapi import API_KEY, FOR_ANYBODY, SESSION
from copperplate.http.origin import base_url_of
from copperplate.http.parameters import refuse_unknown
from copperplate.http.schemas import batches as schemas

if TYPE_CHECKING:
    from copperplate.access.caller import Caller
    from copperplate.services import Services
    from copperplate.wishes import Batch

FOR_OWNERS: Final[dict[str, Any]] = {"security": [{API_KEY: []}, {SESSION: []}]}
PREFLIGHT: Final = preflight("GET, POST, DELETE", "content-type", "x-api-key")
_UNKNOWN: Final = "There is no such batch, or it is not yours to see."

After = Annotated[int, Query(ge=-1, le=2**31 - 1, description="Members behind this position")]
Limit = Annotated[int, Query(ge=1, le=PAGE)]

router = APIRouter(dependencies=[Depends(no_store)])


@router.get("/api/batches/{batch_id}", responses=PROBLEMS, tags=["generate"], openapi_extra=FOR_ANYBODY)
async def look_at_batch(
    batch_id: str, request: Request, response: Response, services: ServicesDep, after: After = -1, limit: Limit = PAGE
) -> schemas.BatchPage:
    """A batch as it is now, and its members by page.

    Whoever has its id may look. One with memoji is told to its owner alone.
    """
    base = base_url_of(request.scope, services.settings)
    batch = await visible_batch(batch_id, await caller_of(request.scope, services), services)
    members = await services.ledger.batch_members(batch.id, after=after, limit=limit)
    if not batch.is_final:
        services.work.note_due()
        response.headers["retry-after"] = str(RETRY_SECONDS)
    return schemas.BatchPage.page(batch, members, base=base, events=await _events_of(batch, services, base))


@router.delete("/api/batches/{batch_id}", responses=PROBLEMS, tags=["generate"], openapi_extra=FOR_OWNERS)
@router.post("/api/batches/{batch_id}/cancel", responses=PROBLEMS, tags=["generate"], openapi_extra=FOR_OWNERS)
async def cancel_batch(batch_id: str, request: Request, services: ServicesDep) -> schemas.CanceledAnswer:
    """Withdraw every member that is not under way, and say what that saves.

    Members under way are paid for: they go on, and their pictures are kept. Repeated, it withdraws nothing more.
    """
    refuse_unknown(request.scope)
    caller = await caller_of(request.scope, services)
    batch = await visible_batch(batch_id, caller, services)
    if owner_of(caller) != batch.owner:
        if caller.is_unknown:
            raise Unauthorized("Only who asked for a batch may cancel it: send the same credential.")
        raise NotOwner
    if (canceled := await services.ledger.cancel_batch(batch.id)) is None:
        raise NotFound(_UNKNOWN)
    return schemas.CanceledAnswer.of(batch, canceled)


@router.options("/api/batches/{batch_id}", include_in_schema=False)
@router.options("/api/batches/{batch_id}/cancel", include_in_schema=False)
async def answer_preflight(batch_id: str) -> Response:  # noqa: ARG001 - any
    """Any origin may ask: keys and tokens are no cookies, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


async def answer_batch(
    body: dict[str, Any],
    caller: Caller,
    response: Response,
    services: Services,
    *,
    idempotency_key: str | None,
    base: str,
) -> schemas.BatchAnswer:
    """Keep the batch that a body asks for, and tell its maker; `base` is this server's origin. See `keep_batch`."""
    kept = await keep_batch(body, caller, services, idempotency_key=idempotency_key)
    response.status_code = 200 if kept.batch.is_final else 202
    if not kept.batch.is_final:
        response.headers["retry-after"] = str(RETRY_SECONDS)
    response.headers["location"] = f"/api/batches/{kept.batch.id}"
    events = await _events_of(kept.batch, services, base)
    return schemas.BatchAnswer.kept(kept.batch, duplicates=kept.duplicates, events=events)


async def visible_batch(batch_id: str, caller: Caller, services: Services) -> Batch:
    """The batch of this id, which this caller may see. Raises `NotFound`, whatever the reason."""
    batch = await services.ledger.find_batch(UUID(batch_id)) if BATCH_ID.fullmatch(batch_id) else None
    if batch is None or (batch.is_private and owner_of(caller) != batch.owner):
        raise NotFound(_UNKNOWN)
    return batch


async def _events_of(batch: Batch, services: Services, base: str) -> str:
    """Where it is followed, for somebody who may: an EventSource sends no credential. What has ended needs no token."""
    needs_token = batch.is_private and not batch.is_final
    token = await services.event_tokens.hand_out(str(batch.id)) if needs_token else None
    return base + batch_events(batch.id, token)
