"""What no route declares in the OpenAPI document: the picture's URL, answered before routing, and a memoji's body."""

from __future__ import annotations

from typing import Any, Final

from copperplate.http.dependencies import PROBLEMS
from copperplate.http.schemas.batches import batch_schemas
from copperplate.http.schemas.generate import item_schemas
from copperplate.http.schemas.problems import ProblemOut, SpendingProblemOut
from copperplate.http.schemas.warming import warm_schema
from copperplate.http.spending_problems import REFUSALS
from copperplate.model import PictureFormat
from copperplate.recipes.display import FITS, MAX_DISPLAY_SIDE_PX, MAX_QUALITY
from copperplate.recipes.image import MAX_SEED, MAX_SIDE_PX, MIN_SIDE_PX
from copperplate.recipes.memoji import MAX_ACCESSORIES
from copperplate.recipes.memoji_words import ACCESSORIES
from copperplate.recipes.memoji_words import WORDS as MEMOJI_WORDS
from copperplate.recipes.text import MAX_CODE_POINTS

# The name of the scheme by which routes say that they want a signed-in person.
SESSION: Final = "session"
API_KEY: Final = "api_key"
# A caller may send either of them, or none.
FOR_ANYBODY: Final[dict[str, Any]] = {"security": [{}, {API_KEY: []}, {SESSION: []}]}
KEPT: Final = "/api/images/{id}"
FORMATS: Final = ["jpg", "jpeg", "png", "webp", "avif", "auto"]
_SIDE: Final = {"type": "integer", "minimum": MIN_SIDE_PX, "maximum": MAX_SIDE_PX}
_DISPLAY_SIDE: Final = {"type": "integer", "minimum": 1, "maximum": MAX_DISPLAY_SIDE_PX}
_PATH: Final = [
    {"name": "width", "in": "path", "required": True, "schema": _SIDE, "example": 1024},
    {"name": "height", "in": "path", "required": True, "schema": _SIDE, "example": 1024},
    {
        "name": "format",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": FORMATS},
        "example": "jpg",
        "description": "jpeg is another name for jpg; auto is webp or avif where Accept names it, else jpg",
    },
]
_DISPLAY: Final = [
    {"name": name, "in": "query", "schema": schema, "description": description}
    for name, schema, description in (
        ("w", _DISPLAY_SIDE, "Width of the rendition, up to the next rung; the height follows. It costs nothing"),
        ("h", _DISPLAY_SIDE, "With `w`: the ratio of the rendition"),
        ("fit", {"type": "string", "enum": list(FITS)}, "With `h`: cut the middle out, or show the whole picture"),
        ("thumb", _DISPLAY_SIDE, "`w` and `h` in one"),
        ("q", {"type": "integer", "minimum": 1, "maximum": MAX_QUALITY}, "Quality, up to the next rung; else 85"),
        (
            "placeholder",
            {"type": "string", "enum": ["1"]},
            "Instead of the picture the tiny one that stands in its place, where it is kept; with none of the above",
        ),
    )
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
    *_DISPLAY,
    {
        "name": "only-if-cached",
        "in": "query",
        "schema": {"type": "string"},
        "description": "With any value: what is stored, or 504; nothing is made. It makes no other picture.",
    },
    {
        "name": "key",
        "in": "query",
        "schema": {"type": "string", "pattern": "^cp_[0-9A-Za-z]{57}$"},
        "description": "A visible API key; any other goes into a header. It makes no other picture.",
    },
    {
        "name": "kid",
        "in": "query",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,16}$"},
        "description": "Of a signed URL: which key signed it. No part of a signature makes another picture.",
    },
    {
        "name": "exp",
        "in": "query",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,11}$"},
        "description": "Of a signed URL: until when it may cause a generation, a full hour in seconds since 1970",
    },
    {
        "name": "sig",
        "in": "query",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
        "description": "Of a signed URL: HMAC-SHA256 in base64url without padding",
    },
]
_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "0" * 64,
    "description": "A key of 64 digits: of a stored form, as in X-Copperplate-Key, or of a generation, as in "
    "X-Copperplate-Generation-Key, which stands for its original. Or the name of an object",
}
_FORMAT: Final = {
    "name": "format",
    "in": "query",
    "schema": {"type": "string", "enum": FORMATS},
    "description": "That of the entry if absent; `auto` as in a picture's URL",
}
_HEADERS: Final = {
    "ETag": {"schema": {"type": "string"}, "description": "SHA-256 of the bytes"},
    "X-Cache": {"schema": {"type": "string", "enum": ["HIT", "MISS"]}},
    "Cache-Status": {
        "schema": {"type": "string"},
        "description": "RFC 9211, with the tier as `detail`: `Copperplate; hit; ttl=3021; detail=memory`",
    },
    "Accept-Ranges": {"schema": {"type": "string", "enum": ["bytes"]}},
    "X-Copperplate-Key": {
        "schema": {"type": "string"},
        "description": "Of this form: `prompt_hash` in public.image_cache or image_renditions, where it is stored",
    },
    "X-Copperplate-Generation-Key": {
        "schema": {"type": "string"},
        "description": "Of the picture in all its forms: `generation_hash` in both. For purges, pins and takedowns",
    },
    "X-Copperplate-Placeholder": {
        "schema": {"type": "string"},
        "description": 'Where it is known: `thumbhash=:…:, color="#rrggbb"` (RFC 8941)',
    },
    "Vary": {"schema": {"type": "string"}, "description": "Of `auto` only: `Accept`. No shared cache may store it"},
    "X-Copperplate-Ignored": {
        "schema": {"type": "string"},
        "description": "Names of parameters that made no difference, where there are any",
    },
}
_BODY: Final = {
    media_type: {"schema": {"type": "string", "contentMediaType": media_type}}
    for media_type in (picture_format.media_type for picture_format in PictureFormat)
}


def describe_pictures(document: dict[str, Any]) -> None:
    """Add the picture's URL, a memoji's configuration and the shape of problems to an OpenAPI document."""
    components = document.setdefault("components", {})
    for problem in (ProblemOut, SpendingProblemOut):
        components.setdefault("schemas", {})[problem.__name__] = problem.model_json_schema()
    memoji = components["schemas"]["MemojiConfiguration"] = _memoji_configuration()
    items = item_schemas(memoji["properties"])
    components["schemas"] |= {**items, **batch_schemas(items["ImageItem"]), "WarmBody": warm_schema()}
    components["securitySchemes"] = {
        SESSION: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        API_KEY: {"type": "http", "scheme": "bearer", "description": "An API key, `cp_…`; also as `X-API-Key`"},
    }
    document["paths"]["/{width}x{height}.{format}"] = {"parameters": [*_PATH, *_QUERY], **_operations()}
    document["paths"][KEPT] = {"parameters": [_ID, _FORMAT, *_DISPLAY], **_operations_of_kept()}
    # Nobody has to be known to see a picture.
    for path in ("/{width}x{height}.{format}", KEPT):
        for method in ("get", "head"):
            document["paths"][path][method] |= FOR_ANYBODY


def _memoji_configuration() -> dict[str, Any]:
    """Every field in its one spelling; others are taken too, see docs/memoji.md."""
    word: dict[str, Any] = {
        name: {"type": ["string", "null"], "enum": [*words, None]} for name, words in MEMOJI_WORDS.items()
    }
    return {
        "title": "MemojiConfiguration",
        "type": "object",
        "additionalProperties": False,
        "description": "Null counts as absent. Letter case and white space make no difference.",
        "properties": {
            "model": {"type": ["string", "null"], "description": "One that the server offers"},
            "size": {
                "type": ["string", "null"],
                "pattern": "^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$",
                "example": "1024x1024",
            },
            **word,
            "accessories": {
                "type": ["array", "null"],
                "items": {"type": "string", "enum": list(ACCESSORIES)},
                "description": f"At most {MAX_ACCESSORIES} different ones; order makes no difference",
            },
        },
        "example": {"familyType": "grandmother", "gesture": "heart", "accessories": ["glasses"]},
    }


_FOUND: Final[dict[str, Any]] = {
    "200": {"description": "The picture", "headers": _HEADERS, "content": _BODY},
    "206": {
        "description": "The part of the picture that `Range` asked for",
        "headers": {
            **_HEADERS,
            "Content-Range": {"schema": {"type": "string"}, "description": "As `bytes 0-1023/20694`"},
        },
        "content": _BODY,
    },
    "302": {
        "description": "On Vercel, of a picture above 4 MB: it lies in Storage",
        "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
    },
    "304": {"description": "If-None-Match named this very picture"},
}


_UNSATISFIABLE: Final[dict[str, Any]] = {
    "416": {
        "description": "`unsatisfiable_range`: the part begins behind the end of the picture",
        "headers": {"Content-Range": {"schema": {"type": "string"}, "description": "As `bytes */20694`"}},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    },
}
_RANGES: Final = [
    {
        "name": "Range",
        "in": "header",
        "schema": {"type": "string"},
        "example": "bytes=0-1023",
        "description": "One range of bytes; anything else is answered by the whole picture (RFC 9110, 14)",
    },
    {
        "name": "If-Range",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The `ETag` of the picture that the part is of; of another picture all is sent",
    },
]
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "example": "respond-async, wait=5",
    "description": "`respond-async`: 202 where the picture is not stored, or not made within `wait` seconds (RFC 7240)",
}
_PROMISED: Final[dict[str, Any]] = {
    "202": {
        "description": "It is being made, as `Prefer: respond-async` wants to be told",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "What became of it"}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PromisedAnswer"}}},
    },
}
# A HEAD has no body.
_HEAD_PROBLEMS: Final = {status: {"description": problem["description"]} for status, problem in PROBLEMS.items()}


def _operations() -> dict[str, Any]:
    return {
        "get": {
            "summary": "A picture",
            "description": "Made on the first request, then served from the cache. Unknown parameters are ignored, and "
            "named in `X-Copperplate-Ignored`.",
            "operationId": "get_picture",
            "tags": ["pictures"],
            "parameters": [_PREFER, *_RANGES],
            "responses": {**_FOUND, **_PROMISED, **_UNSATISFIABLE, **_refusals(), **PROBLEMS},
        },
        "head": {
            "summary": "Whether a picture has been made",
            "description": "Spends nothing: 404 `not_generated` where a GET would have to make it.",
            "operationId": "head_picture",
            "tags": ["pictures"],
            "responses": {
                "200": {"description": "It has", "headers": _HEADERS},
                "304": _FOUND["304"],
                "404": {"description": "It has not"},
                "410": {"description": "`taken_down`: it is not served, and never made again"},
                **_HEAD_PROBLEMS,
            },
        },
    }


def _operations_of_kept() -> dict[str, Any]:
    return {
        "get": {
            "summary": "A kept picture",
            "description": "By any of its names and in every form; 404 where it is not kept. Nothing is made but forms "
            "of what is kept, which cost nothing. Unknown parameters are ignored and named in `X-Copperplate-Ignored`.",
            "operationId": "get_image",
            "tags": ["pictures"],
            "parameters": _RANGES,
            "responses": {**_FOUND, **_UNSATISFIABLE, **PROBLEMS},
        },
        "head": {
            "summary": "Whether a picture is kept",
            "operationId": "head_image",
            "tags": ["pictures"],
            "responses": {
                "200": {"description": "It is", "headers": _HEADERS},
                "304": _FOUND["304"],
                **_HEAD_PROBLEMS,
            },
        },
    }


def _refusals() -> dict[str, Any]:
    """As an operation that no route declares has them."""
    return {str(status): refusal for status, refusal in REFUSALS.items()}
