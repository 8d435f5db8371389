"""Requests of operators and their machines: by a secret that is set, or by an API key that was given the scope."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from copperplate.denials import MissingScope
from copperplate.errors import Misconfigured, Unauthorized
from copperplate.http.callers import key_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from copperplate.api_keys import Scope
    from copperplate.services import Services


async def authorise(request: Request, services: Services, expected: str | None, variable: str, scope: Scope) -> None:
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
