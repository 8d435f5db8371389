"""Statistics, explanations and health: thin routes over services."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import quote_from_bytes

from fastapi import APIRouter, Depends, Query, Request, Response

from copperplate.errors import InvalidQuery
from copperplate.http import schemas
from copperplate.http.problems import HEADERS
from copperplate.http.wiring import Wiring
from copperplate.recipes import explain as explaining
from copperplate.recipes.explain_memoji import MemojiExplanation, explain_memoji
from copperplate.recipes.kinds import IMAGE, MEMOJI
from copperplate.services import Services


def wiring_of(request: Request) -> Wiring:
    """What the application works with."""
    wiring: Wiring = request.app.state.wiring
    return wiring


def services_of(wiring: Annotated[Wiring, Depends(wiring_of)]) -> Services:
    """The open services; raises `Misconfigured` while there are none."""
    return wiring.require()


def fresh(response: Response) -> None:
    """Mark an answer as true only now, and readable from any page."""
    response.headers.update(HEADERS)


Wired = Annotated[Wiring, Depends(wiring_of)]
Served = Annotated[Services, Depends(services_of)]

Explained = explaining.Explanation | MemojiExplanation

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The caller can mend it", "content": _PROBLEM},
    "5XX": {"description": "We can; with Retry-After where waiting helps", "content": _PROBLEM},
}
_VISIBLE = bytes(range(0x21, 0x7F))
router = APIRouter(dependencies=[Depends(fresh)])


@router.get("/healthz", tags=["operations"])
async def health() -> schemas.Health:
    """Whether the process answers. It asks neither the database nor the store."""
    return schemas.Health(status="ok")


@router.get("/api/generation/stats", responses=PROBLEMS, tags=["statistics"])
async def generation_stats(services: Served) -> schemas.GenerationStatsAnswer:
    """Calls to providers made and saved, since the beginning and today (UTC)."""
    await services.request_meter.flush()
    stats = schemas.GenerationStats.model_validate(asdict(await services.ledger.generation_stats()))
    message = f"Saved {stats.api_calls_saved_today} API calls today!"
    return schemas.GenerationStatsAnswer(success=True, stats=stats, message=message)


@router.get("/api/cache/stats", responses=PROBLEMS, tags=["statistics"])
async def cache_stats(services: Served) -> schemas.CacheStatsAnswer:
    """What is kept, how often it was served, its bytes, and what that saved in money."""
    await services.request_meter.flush()
    stats = schemas.CacheStats.of(await services.ledger.kind_stats(IMAGE.name))
    memoji = schemas.MemojiStats.of(await services.ledger.kind_stats(MEMOJI.name))
    savings = schemas.Savings.of(await services.ledger.savings())
    return schemas.CacheStatsAnswer(success=True, stats=stats, memoji=memoji, savings=savings)


def _asked(  # noqa: PLR0913, PLR0917 - the parameters of a picture's URL
    request: Request,
    url: Annotated[str | None, Query(description="A picture's address, percent-encoded as one value")] = None,
    memoji: Annotated[str | None, Query(description="Instead: a memoji's configuration, in JSON")] = None,
    width: int = 1024,
    height: int = 1024,
    format: str = "jpg",  # noqa: A002 - one idea, one word
    text: str | None = None,
    prompt: str | None = None,
    model: str | None = None,  # noqa: ARG001 - declared for the document; the query is read as received
    seed: str | None = None,  # noqa: ARG001
) -> str:
    """The address to explain: `url`, or else the one that this very query makes; or a memoji's configuration."""
    if memoji is not None:
        if (url, text, prompt) != (None, None, None):
            raise InvalidQuery("Name a memoji's configuration or a picture, not both.")
        return memoji
    if url is not None:
        return url
    if text is None and prompt is None:
        raise InvalidQuery("Name a picture's address as url, percent-encoded, or give text, width, height and format.")
    query = quote_from_bytes(request.scope["query_string"], safe=_VISIBLE)
    return f"/{width}x{height}.{format}?{query}"


@router.get("/api/explain", responses=PROBLEMS, tags=["keys"])
async def explain(
    wiring: Wired,
    asked: Annotated[str, Depends(_asked)],
    memoji: str | None = None,
    other: Annotated[str | None, Query(description="A second one of its kind: why do the two differ?")] = None,
) -> schemas.ExplainAnswer:
    """Every step from a picture's address, or a memoji's configuration, to its keys; nothing is generated."""
    explained = _explained if memoji is None else _explained_memoji
    first = explained(wiring, asked)
    answer = schemas.ExplainAnswer(success=True, explanation=_shown(first))
    if other is not None:
        second = explained(wiring, other)
        answer.other = _shown(second)
        answer.comparison = schemas.ComparisonOut.model_validate(explaining.compare(first, second).as_dict())
    return answer


def _shown(explained: Explained) -> schemas.ExplanationOut | schemas.MemojiExplanationOut:
    if isinstance(explained, MemojiExplanation):
        return schemas.MemojiExplanationOut.model_validate(explained.as_dict())
    return schemas.ExplanationOut.model_validate(explained.as_dict())


def _explained_memoji(wiring: Wiring, configuration: str) -> Explained:
    return explain_memoji(configuration, provider=wiring.require().memoji_provider)


def _explained(wiring: Wiring, address: str) -> Explained:
    wiring.require()
    picture_requests = wiring.picture_requests
    assert picture_requests is not None  # noqa: S101 - there are services, so there are wants
    return explaining.explain(
        address, default_model=picture_requests.default_model, model_parameters=picture_requests.model_parameters
    )
