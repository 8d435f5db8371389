"""Explanations: every step from a picture's address, or a memoji's configuration, to its keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote_from_bytes

from fastapi import APIRouter, Depends, Query, Request

from copperplate.errors import InvalidQuery
from copperplate.http import display  # noqa: TC001 - FastAPI reads it
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.schemas import explain as schemas
from copperplate.recipes.explain import Explanation, compare, explain
from copperplate.recipes.explain_memoji import MemojiExplanation, explain_memoji
from copperplate.recipes.kinds import IMAGE, MEMOJI
from copperplate.recipes.models import model_parameters

if TYPE_CHECKING:
    from copperplate.services import Services

_VISIBLE = bytes(range(0x21, 0x7F))
router = APIRouter(dependencies=[Depends(no_store)])


def _subject(  # noqa: PLR0913, PLR0917 - the parameters of a picture's URL
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
    w: display.Width = None,  # noqa: ARG001
    h: display.Height = None,  # noqa: ARG001
    fit: display.Fit = None,  # noqa: ARG001
    q: display.Quality = None,  # noqa: ARG001
    thumb: display.Thumb = None,  # noqa: ARG001
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


@router.get("/api/explain", responses=PROBLEMS, tags=["keys"], name="explain")
async def explain_request(
    services: ServicesDep,
    subject: Annotated[str, Depends(_subject)],
    memoji: str | None = None,
    other: Annotated[str | None, Query(description="A second one of its kind: why do the two differ?")] = None,
) -> schemas.ExplainAnswer:
    """Every step from a picture's address, or a memoji's configuration, to its keys; nothing is generated."""
    explanation_of = _explain_picture if memoji is None else _explain_memoji
    first = explanation_of(services, subject)
    answer = schemas.ExplainAnswer(success=True, explanation=_shown(first))
    if other is not None:
        second = explanation_of(services, other)
        answer.other = _shown(second)
        answer.comparison = schemas.ComparisonOut.model_validate(compare(first, second).as_dict())
    return answer


def _explain_picture(services: Services, address: str) -> Explanation | MemojiExplanation:
    provider = services.provider_of(IMAGE.name)
    return explain(address, default_model=provider.models[0], model_parameters=partial(model_parameters, provider))


def _explain_memoji(services: Services, configuration: str) -> Explanation | MemojiExplanation:
    return explain_memoji(configuration, provider=services.provider_of(MEMOJI.name))


def _shown(explanation: Explanation | MemojiExplanation) -> schemas.ExplanationOut | schemas.MemojiExplanationOut:
    if isinstance(explanation, MemojiExplanation):
        return schemas.MemojiExplanationOut.model_validate(explanation.as_dict())
    return schemas.ExplanationOut.model_validate(explanation.as_dict())
