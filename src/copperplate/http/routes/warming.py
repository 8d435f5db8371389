"""`POST /api/cache/warm`: pictures made before anybody asks for them."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.http.batches import MAX_BODY_BYTES
from copperplate.http.bodies import read_json_object
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.idempotency import read_idempotency_key
from copperplate.http.openapi import API_KEY
from copperplate.http.origin import base_url_of
from copperplate.http.parameters import refuse_unknown
from copperplate.http.schemas.warming import WarmAnswer
from copperplate.http.warming import keep_warming

FOR_KEYS: Final[dict[str, Any]] = {"security": [{API_KEY: []}]}
BODY: Final = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/WarmBody"}}},
}

router = APIRouter(dependencies=[Depends(no_store)])


@router.post(
    "/api/cache/warm",
    responses={202: {"model": WarmAnswer, "description": "The batch is kept"}, **PROBLEMS},
    openapi_extra={**FOR_KEYS, "requestBody": BODY},
    tags=["operations"],
)
async def warm_cache(request: Request, response: Response, services: ServicesDep) -> WarmAnswer:
    """Have pictures made before anybody asks for them: a batch of the key's, of the lowest priority.

    What is stored costs nothing; the rest is booked to the key's budgets. With `dry_run` nothing is written.
    """
    refuse_unknown(request.scope)
    caller = await caller_of(request.scope, services)
    base = base_url_of(request.scope, services.settings)
    idempotency_key = read_idempotency_key(request)
    body = await read_json_object(request, max_bytes=MAX_BODY_BYTES)
    warming = await keep_warming(body, caller, services, idempotency_key=idempotency_key)
    if warming.batch is not None:
        response.status_code = 202
        response.headers["location"] = f"/api/batches/{warming.batch}"
    return WarmAnswer.of(
        warming, is_dry_run=bool(body.get("dry_run")), in_flight=services.settings.work_items, base=base
    )
