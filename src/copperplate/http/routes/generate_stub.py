"""Stub."""

from __future__ import annotations
from fastapi import APIRouter, Depends, Request, Response
from copperplate.http import bodies
from copperplate.http.batches import MAX_BODY_BYTES, keep_batch
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import ServicesDep, no_store
from copperplate.http.schemas.batches import BatchAnswer

router = APIRouter(dependencies=[Depends(no_store)])


@router.post("/api/generate")
async def generate(request: Request, response: Response, services: ServicesDep) -> BatchAnswer:
    bodies.MAX_BYTES = MAX_BODY_BYTES
    caller = await caller_of(request.scope, services)
    body = await bodies.read_json_object(request)
    kept = await keep_batch(body, caller, services, idempotency_key=request.headers.get("idempotency-key"))
    response.status_code = 200 if kept.batch.is_final else 202
    response.headers["location"] = f"/api/batches/{kept.batch.id}"
    return BatchAnswer.kept(kept.batch, duplicates=kept.duplicates)
