"""The streams of progress in the OpenAPI document: they are answered before routing, so no route declares them."""

from __future__ import annotations

from typing import Any, Final

from copperplate.http.api import BATCH_ID
from copperplate.http.dependencies import PROBLEMS
from copperplate.recipes.objects import KEY

_PARAMETERS: Final = [
    {
        "name": "Last-Event-ID",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Of the last event that was told; an EventSource sends it when it comes back",
    },
    {
        "name": "last_event_id",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The same for those who can set no header",
    },
    {
        "name": "token",
        "in": "query",
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z_-]{43}$"},
        "description": "What permits to watch a private picture or batch for ten minutes, as `events` hands it out",
    },
]
# By path: the name of its parameter, its pattern, what is watched, and the events.
# Of one event: OpenAPI 3.1 cannot say that a body is many.
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
        "data": {"type": "string", "description": "JSON in one line"},
    },
}
_STREAMS: Final = {
    "/api/generations/{key}/events": (
        *("key", f"^{KEY.pattern}$", "picture"),
        "Events: `progress`, at the end `completed` or `failed`; the data is the whole state.",
    ),
    "/api/batches/{batch_id}/events": (
        *("batch_id", f"^{BATCH_ID.pattern}$", "batch"),
        "Events: `progress` at first, `concept_progress` for each change, `concepts_generated` at the end.",
    ),
}


def describe_streams(document: dict[str, Any], security: dict[str, Any]) -> None:
    """Add the addresses of streams to an OpenAPI document."""
    for path, (name, pattern, watched, events) in _STREAMS.items():
        parameter = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}
        common = {"tags": ["generate"], **security}
        document["paths"][path] = {
            "parameters": [parameter, *_PARAMETERS],
            "get": {
                "summary": f"The progress of a {watched}, as a stream",
                "description": f"{events} See docs/progress.md.",
                "operationId": f"watch_{watched}",
                "responses": {
                    "200": {
                        "description": "Server-sent events",
                        "content": {"text/event-stream": {"schema": _EVENT}},
                    },
                    "204": {"description": "The caller was told the end"},
                    **PROBLEMS,
                },
                **common,
            },
            "head": {
                "summary": f"Whether there is a {watched} to watch",
                "operationId": f"head_{watched}_events",
                "responses": {
                    "200": {"description": "There is"},
                    "204": {"description": "The caller was told the end"},
                    **{status: {"description": problem["description"]} for status, problem in PROBLEMS.items()},
                },
                **common,
            },
        }
