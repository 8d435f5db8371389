"""The picture's URL in the OpenAPI document: it is answered before routing, so no route declares it."""

from __future__ import annotations

from typing import Any, Final

from copperplate.http.api import PROBLEMS
from copperplate.http.schemas import ProblemOut
from copperplate.model import PictureFormat
from copperplate.recipes.image import MAX_SEED, MAX_SIDE_PX, MIN_SIDE_PX
from copperplate.recipes.text import MAX_CODE_POINTS

_SIDE: Final = {"type": "integer", "minimum": MIN_SIDE_PX, "maximum": MAX_SIDE_PX}
_PATH: Final = [
    {"name": "width", "in": "path", "required": True, "schema": _SIDE, "example": 1024},
    {"name": "height", "in": "path", "required": True, "schema": _SIDE, "example": 1024},
    {
        "name": "format",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": ["jpg", "jpeg", "png", "webp"]},
        "example": "jpg",
        "description": "jpeg is another name for jpg",
    },
]
_QUERY: Final = [
    {
        "name": "text",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_CODE_POINTS},
        "example": "A beautiful sunset",
        "description": "What to see. `prompt` is another name for it. White space is folded, letter case counts.",
    },
    {
        "name": "model",
        "in": "query",
        "schema": {"type": "string"},
        "description": "One of the models this server offers; the first of them if absent",
    },
    {
        "name": "seed",
        "in": "query",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "description": f"A whole number up to {MAX_SEED}; another seed is another picture",
    },
]
_HEADERS: Final = {
    "ETag": {"schema": {"type": "string"}, "description": "SHA-256 of the bytes"},
    "X-Cache": {"schema": {"type": "string", "enum": ["HIT", "MISS"]}},
    "Cache-Status": {"schema": {"type": "string"}, "description": "RFC 9211"},
    "X-Copperplate-Key": {"schema": {"type": "string"}, "description": "`prompt_hash` in public.image_cache"},
}
_BODY: Final = {
    each.media_type: {"schema": {"type": "string", "contentMediaType": each.media_type}} for each in PictureFormat
}


def describe_pictures(document: dict[str, Any]) -> None:
    """Add the picture's URL and the shape of problems to an OpenAPI document."""
    document.setdefault("components", {}).setdefault("schemas", {})["ProblemOut"] = ProblemOut.model_json_schema()
    document["paths"]["/{width}x{height}.{format}"] = {"parameters": [*_PATH, *_QUERY], **_operations()}


def _operations() -> dict[str, Any]:
    picture = {"description": "The picture", "headers": _HEADERS, "content": _BODY}
    unchanged = {"description": "If-None-Match named this very picture"}
    elsewhere = {
        "description": "On Vercel, of a picture above 4 MB: it lies in Storage",
        "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
    }
    return {
        "get": {
            "summary": "A picture",
            "description": "Made on the first request, then served from the cache. Unknown parameters are ignored.",
            "operationId": "get_picture",
            "tags": ["pictures"],
            "responses": {"200": picture, "302": elsewhere, "304": unchanged, **PROBLEMS},
        },
        "head": {
            "summary": "Whether a picture has been made",
            "description": "Spends nothing: 404 `not_generated` where a GET would have to make it.",
            "operationId": "head_picture",
            "tags": ["pictures"],
            "responses": {
                "200": {"description": "It has", "headers": _HEADERS},
                "304": unchanged,
                "404": {"description": "It has not"},
                **{status: {"description": problem["description"]} for status, problem in PROBLEMS.items()},
            },
        },
    }
