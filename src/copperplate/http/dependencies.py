"""What the routes share: the open services, the headers of uncacheable answers, and the shape of problems."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response

from copperplate.http.problems import HEADERS
from copperplate.services import Services

PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "The caller can mend it", "content": PROBLEM},
    "5XX": {"description": "We can; with Retry-After where waiting helps", "content": PROBLEM},
}


def services_of(request: Request) -> Services:
    """The open services; raises `Misconfigured` while there are none."""
    services: Services = request.app.state.wiring.require()
    return services


def no_store(response: Response) -> None:
    """Mark an answer as not cacheable, and readable from any origin."""
    response.headers.update(HEADERS)


ServicesDep = Annotated[Services, Depends(services_of)]
