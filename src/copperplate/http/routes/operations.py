"""Routes for operators: the cleanup, which Vercel's cron calls with GET and people with POST; readiness; metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from copperplate.access.budget_states import read_all
from copperplate.api_keys import Scope
from copperplate.errors import CopperplateError, LedgerUnavailable, ObjectMissing, StoreUnavailable
from copperplate.http import metrics
from copperplate.http.bodies import has_body, read_json_object
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.operators import authorise
from copperplate.http.parameters import refuse_unknown, refuse_unknown_members
from copperplate.http.schemas import operations as schemas
from copperplate.http.vercel import seconds_left
from copperplate.operations.backfill import Backfill
from copperplate.operations.cleanup import TIME, clean, count
from copperplate.recipes.kinds import KINDS
from copperplate.work.step import WorkStep  # noqa: TC001 - FastAPI reads annotations of this module

READY_SECONDS: Final = 2.0
# The shares of an invocation's time that a cleanup and the work after it may use; the rest is for slow last steps.
CLEANUP_SHARE: Final = 0.5
WORK_SHARE: Final = 0.25
# An object that is never there: a store that answers "missing" is up.
NO_OBJECT: Final = f"2000/01/{'0' * 64}.png"
logger = logging.getLogger(__name__)
router = APIRouter(dependencies=[Depends(no_store)])

DryRun = Annotated[bool, Query(description="Only count what would be removed of pictures")]


@router.get("/api/cache/cleanup", responses=PROBLEMS, tags=["operations"])
@router.post("/api/cache/cleanup", responses=PROBLEMS, tags=["operations"])
async def clean_up(
    request: Request, services: ServicesDep, dry_run: DryRun = False
) -> schemas.CleanupAnswer | schemas.CleanupCount:
    """Remove what was not served for 30 days, and memoji of 90 days that hardly anybody used, with their objects.

    Needs `Authorization: Bearer <CRON_SECRET>`, or an API key with the scope `purge`. Runs may overlap and may be
    repeated; each ends within four minutes, and the next one goes on. Then pictures that were promised and that nobody
    makes are made, for two minutes at most (`/api/work`). With `dry_run=true` nothing is removed or made: the answer is
    how much of pictures would be removed. A parameter, or a member of a body, that is not known is refused.
    """
    await authorise(request, services, services.settings.cron_secret, "CRON_SECRET", Scope.PURGE)
    refuse_unknown(request.scope)
    if has_body(request):
        refuse_unknown_members(await read_json_object(request), ())
    if dry_run:
        counted = await count(services.ledger)
        return schemas.CleanupCount(success=True, dry_run=True, **counted)
    # The platform may grant a function less than the four minutes of a run.
    left = seconds_left() if services.settings.on_vercel else TIME.total_seconds() / CLEANUP_SHARE
    within = min(TIME, timedelta(seconds=max(0.0, left * CLEANUP_SHARE)))
    ledger, stores, clock = services.ledger, services.stores, services.clock
    backfill = Backfill(ledger, stores, services.images, clock)
    cleaned = await clean(ledger, stores.values(), clock=clock, backfill=backfill, within=within)
    work = await _work(services.work, max(0.0, left * WORK_SHARE))
    return schemas.CleanupAnswer(success=True, work=work, **cleaned.as_dict())


async def _work(work: WorkStep, within_seconds: float) -> schemas.Work | None:
    """What a step did; None where the database does not answer, which does not undo the cleanup."""
    try:
        return schemas.Work(**asdict(await work.run(within_seconds=within_seconds)))
    except CopperplateError as error:
        logger.warning("promised pictures wait for the next step: %s", error.code)
        return None


@router.get("/readyz", responses=PROBLEMS, tags=["operations"], response_model_exclude_none=True)
async def ready(services: ServicesDep) -> schemas.Readiness:
    """Whether database and object store answer within two seconds; 503 says which does not."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            setup = await services.ledger.check_setup()
    except TimeoutError as error:
        raise LedgerUnavailable("the database does not answer in time") from error
    for store in services.stores.values():
        try:
            async with asyncio.timeout(READY_SECONDS):
                with contextlib.suppress(ObjectMissing):
                    await store.get(NO_OBJECT)
        except TimeoutError as error:
            raise StoreUnavailable(f"bucket {store.bucket} does not answer in time") from error
    # The pooler's address is for operators alone: `copperplate doctor` shows it.
    return schemas.Readiness(status="ready", pooler=(setup.get("pooler") or {}).get("mode"))


@router.get("/metrics", responses=PROBLEMS, tags=["operations"], response_class=Response)
async def read_metrics(request: Request, services: ServicesDep) -> Response:
    """Figures for Prometheus.

    Needs `Authorization: Bearer <COPPERPLATE_METRICS_TOKEN>`, or an API key with the scope `admin`.
    """
    await authorise(request, services, services.settings.metrics_token, "COPPERPLATE_METRICS_TOKEN", Scope.ADMIN)
    await services.request_meter.flush()
    kept = {kind: await services.ledger.kind_stats(kind) for kind in KINDS}
    budgets = await read_all(services.ledger, services.settings)
    prefixes = {str(key.id): key.prefix for key in await services.ledger.list_api_keys()}
    tiers = await services.ledger.read_tiers()
    text = metrics.render(await services.ledger.usage_totals(), kept, budgets, prefixes, tiers)
    return Response(text, media_type=metrics.MEDIA_TYPE, headers={"cache-control": "no-store"})
