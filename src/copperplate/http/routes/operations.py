"""Routes for operators: the cleanup, which Vercel's cron calls with GET and people with POST; readiness; metrics."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from copperplate.access.budget_states import read_all
from copperplate.api_keys import Scope
from copperplate.denials import MissingScope
from copperplate.errors import LedgerUnavailable, Misconfigured, ObjectMissing, StoreUnavailable, Unauthorized
from copperplate.http import metrics
from copperplate.http.bodies import has_body, read_json_object
from copperplate.http.callers import key_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.parameters import refuse_unknown, refuse_unknown_members
from copperplate.http.schemas import operations as schemas
from copperplate.http.vercel import seconds_left
from copperplate.operations.backfill import Backfill
from copperplate.operations.cleanup import TIME, clean, count
from copperplate.recipes.kinds import KINDS
from copperplate.services import Services  # noqa: TC001 - FastAPI reads annotations of this module

READY_SECONDS: Final = 2.0
# The share of an invocation's time that a run may use; the rest is for a slow last step.
CLEANUP_SHARE: Final = 0.75
# An object that is never there: a store that answers "missing" is up.
NO_OBJECT: Final = f"2000/01/{'0' * 64}.png"
router = APIRouter(dependencies=[Depends(no_store)])

DryRun = Annotated[bool, Query(description="Only count what would be removed of pictures")]


@router.get("/api/cache/cleanup", responses=PROBLEMS, tags=["operations"])
@router.post("/api/cache/cleanup", responses=PROBLEMS, tags=["operations"])
async def clean_up(
    request: Request, services: ServicesDep, dry_run: DryRun = False
) -> schemas.CleanupAnswer | schemas.CleanupCount:
    """Remove what was not served for 30 days, and memoji of 90 days that hardly anybody used, with their objects.

    Needs `Authorization: Bearer <CRON_SECRET>`, or an API key with the scope `purge`. Runs may overlap and may be
    repeated; each ends within four minutes, and the next one goes on. With `dry_run=true` nothing is removed: the
    answer is how much of pictures would be. A parameter, or a member of a body, that is not known is refused.
    """
    await _authorise(request, services, services.settings.cron_secret, "CRON_SECRET", Scope.PURGE)
    refuse_unknown(request.scope)
    if has_body(request):
        refuse_unknown_members(await read_json_object(request), ())
    if dry_run:
        counted = await count(services.ledger)
        return schemas.CleanupCount(success=True, dry_run=True, **counted)
    # The platform may grant a function less than the four minutes of a run.
    left = seconds_left() * CLEANUP_SHARE if services.settings.on_vercel else TIME.total_seconds()
    within = min(TIME, timedelta(seconds=max(0.0, left)))
    ledger, stores, clock = services.ledger, services.stores, services.clock
    backfill = Backfill(ledger, stores, services.images, clock)
    cleaned = await clean(ledger, stores.values(), clock=clock, backfill=backfill, within=within)
    return schemas.CleanupAnswer(success=True, **cleaned.as_dict())


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
    await _authorise(request, services, services.settings.metrics_token, "COPPERPLATE_METRICS_TOKEN", Scope.ADMIN)
    await services.request_meter.flush()
    kept = {kind: await services.ledger.kind_stats(kind) for kind in KINDS}
    budgets = await read_all(services.ledger, services.settings)
    prefixes = {str(key.id): key.prefix for key in await services.ledger.list_api_keys()}
    text = metrics.render(await services.ledger.usage_totals(), kept, budgets, prefixes)
    return Response(text, media_type=metrics.MEDIA_TYPE, headers={"cache-control": "no-store"})


async def _authorise(request: Request, services: Services, expected: str | None, variable: str, scope: Scope) -> None:
    """By the secret that is set, or by an API key with this scope. Without either, every request is refused."""
    if expected is not None and _is_secret(request, expected):
        return
    key = await key_of(request.scope, services)
    if key is None and expected is None:
        raise Misconfigured(f"This route is closed until {variable} is set. See docs/settings.md.")
    if key is None:
        raise Unauthorized(f"Send Authorization: Bearer with the value of {variable}, or an API key with `{scope}`.")
    if scope not in key.scopes:
        raise MissingScope(f"This API key has no scope `{scope}`.")


def _is_secret(request: Request, expected: str) -> bool:
    """Compares in constant time."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    # Headers are decoded as latin-1; the secret was set as UTF-8. Bytes are compared.
    is_right = hmac.compare_digest(secret.encode("latin-1"), expected.encode(errors="surrogateescape"))
    return is_right and scheme.lower() == "bearer"
