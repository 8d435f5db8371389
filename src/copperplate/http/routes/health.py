"""Health: whether the process lives."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from copperplate.http.dependencies import no_store
from copperplate.http.schemas import operations as schemas

router = APIRouter(dependencies=[Depends(no_store)])


@router.get("/healthz", tags=["operations"])
async def health() -> schemas.Health:
    """Whether the process answers. It asks neither the database nor the store."""
    return schemas.Health(status="ok")
