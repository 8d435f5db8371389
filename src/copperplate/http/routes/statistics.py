"""Statistics: what was made, saved and kept."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Depends

from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.schemas import statistics as schemas
from copperplate.recipes.kinds import IMAGE, MEMOJI

router = APIRouter(dependencies=[Depends(no_store)], responses=PROBLEMS, tags=["statistics"])


@router.get("/api/generation/stats")
async def generation_stats(services: ServicesDep) -> schemas.GenerationStatsAnswer:
    """Calls to providers made and saved, since the beginning and today (UTC)."""
    await services.request_meter.flush()
    stats = schemas.GenerationStats.model_validate(asdict(await services.ledger.generation_stats()))
    message = f"Saved {stats.api_calls_saved_today} API calls today!"
    return schemas.GenerationStatsAnswer(success=True, stats=stats, message=message)


@router.get("/api/cache/stats")
async def cache_stats(services: ServicesDep) -> schemas.CacheStatsAnswer:
    """What is kept, how often it was served, its bytes, and what that saved in money."""
    await services.request_meter.flush()
    stats = schemas.CacheStats.of(await services.ledger.kind_stats(IMAGE.name))
    memoji = schemas.MemojiStats.of(await services.ledger.kind_stats(MEMOJI.name))
    savings = schemas.Savings.of(await services.ledger.savings())
    tiers = schemas.TierStats.of(await services.ledger.read_tiers())
    return schemas.CacheStatsAnswer(success=True, stats=stats, memoji=memoji, savings=savings, tiers=tiers)
