"""What a caller may still spend."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.access.budget_states import read_all
from copperplate.api_keys import Scope
from copperplate.http.api import preflight
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.openapi import FOR_ANYBODY
from copperplate.http.schemas import budget as schemas

PREFLIGHT: Final = preflight("GET", "x-api-key")

router = APIRouter(dependencies=[Depends(no_store)])


@router.get("/api/budget", responses=PROBLEMS, tags=["statistics"], openapi_extra=FOR_ANYBODY)
async def read_budget(request: Request, services: ServicesDep) -> schemas.BudgetAnswer:
    """What your pictures are booked to, and what is left of it; every budget with an API key of scope `admin`.

    Stored pictures cost nothing, whatever is left. An address is in no answer: yours is called `address`.
    """
    caller = await caller_of(request.scope, services)
    if caller.key is not None and Scope.ADMIN in caller.key.scopes:
        states = await read_all(services.ledger, services.settings)
    else:
        states = await services.ledger.read_budgets(services.gate.budgets_of(caller))
    is_billable = any(kind.provider.is_billable for kind in services.kinds.values())
    return schemas.BudgetAnswer.of(states, access=services.settings.access, is_billable=is_billable)


@router.options("/api/budget", include_in_schema=False)
async def answer_preflight() -> Response:
    """Any origin may ask: neither key nor token is a cookie, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)
