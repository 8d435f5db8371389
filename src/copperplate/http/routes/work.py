"""`/api/work`: one step of the work that was promised, for a cron, pg_cron or a person to start."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from fastapi import APIRouter, Depends, Request

from copperplate.api_keys import Scope
from copperplate.http.bodies import has_body, read_json_object
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.operators import authorise
from copperplate.http.parameters import refuse_unknown, refuse_unknown_members
from copperplate.http.schemas import operations as schemas
from copperplate.http.vercel import work_seconds_left

# Of one step: a caller who comes every minute finds the one before over.
STEP_SECONDS: Final = 50.0
router = APIRouter(dependencies=[Depends(no_store)])


@router.get("/api/work", responses=PROBLEMS, tags=["operations"])
@router.post("/api/work", responses=PROBLEMS, tags=["operations"])
async def work(request: Request, services: ServicesDep) -> schemas.WorkAnswer:
    """Make pictures that were promised and that nobody makes, until none is due or 50 seconds are over.

    Needs `Authorization: Bearer <CRON_SECRET>`, or an API key with the scope `admin`. Any number of steps may run at
    once. A parameter, or a member of a body, that is not known is refused.
    """
    await authorise(request, services, services.settings.cron_secret, "CRON_SECRET", Scope.ADMIN)
    refuse_unknown(request.scope)
    if has_body(request):
        refuse_unknown_members(await read_json_object(request), ())
    within_seconds = min(STEP_SECONDS, work_seconds_left()) if services.settings.on_vercel else STEP_SECONDS
    report = await services.work.run(within_seconds=max(0.0, within_seconds))
    return schemas.WorkAnswer(success=True, **asdict(report))
