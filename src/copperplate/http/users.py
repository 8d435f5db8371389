"""Who is signed in, by the token a request brings (RFC 6750)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from copperplate.errors import Unauthorized
from copperplate.http.dependencies import ServicesDep  # noqa: TC001 - FastAPI reads it
from copperplate.model import User

HOW = "Sign in and send Authorization: Bearer with the access token of that session."


async def signed_in(request: Request, services: ServicesDep) -> User:
    """The user of the request's token. Raises `Unauthorized` before anything is looked up."""
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized(HOW)
    return await services.verifier.verify(token)


SignedIn = Annotated[User, Depends(signed_in)]
