"""The addresses of streams, and what their queries hold. For their tokens see `serving.event_tokens`."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from copperplate.recipes.url import parameter_name, parameter_value

PARAMETER: Final = "token"
NOT_PERMITTED: Final = (
    "This token does not permit to watch this, or its ten minutes are over. Ask for the status, as its owner, to have "
    "a new one."
)


def generation_events(key: str, token: str | None = None) -> str:
    """The path and query of a generation's stream."""
    return _with_token(f"/api/generations/{key}/events", token)


def batch_events(batch: object, token: str | None = None) -> str:
    """The path and query of a batch's stream."""
    return _with_token(f"/api/batches/{batch}/events", token)


def parameter_in(query: bytes, name: str) -> str | None:
    """The value of a parameter, the last one where it is repeated; None where it is absent or no text."""
    found = None
    for part in query.split(b"&"):
        if parameter_name(part) == name:
            found = parameter_value(part)
    return None if found is None else found.decode(errors="replace")


def _with_token(path: str, token: str | None) -> str:
    return path if token is None else f"{path}?{urlencode({PARAMETER: token})}"
