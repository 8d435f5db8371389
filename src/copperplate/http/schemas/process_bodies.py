"""What the OpenAPI document says of requests that have a picture processed: their bodies are read in pieces."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_SAID: Final[dict[str, Any]] = {
    "model": {**_TEXT, "description": "One that does this operation; the first of them if absent"},
    "parent": {**_TEXT, "description": "Key of a kept picture that the file comes from"},
    "crop": {
        **_TEXT,
        "pattern": "^[0-9]{1,6},[0-9]{1,6},[0-9]{1,6},[0-9]{1,6}$",
        "example": "0,0,512,512",
        "description": "The rectangle of `parent` that the file is: left,top,width,height in px",
    },
}
_NAMED: Final = {
    "source": "Key or name of a kept picture that the caller may see: nothing is uploaded",
    "upload": "A path that `POST /api/process/uploads` handed out, once the file was sent there",
    "url": "An https address of a public host, where this server fetches pictures",
}
_PICTURE: Final = {"schema": {"type": "string", "format": "binary"}}
BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "Parameters of the model go beside the rest, by name: `GET /api/process` lists them",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}, **_SAID},
            }
        },
        "application/json": {
            "schema": {
                "title": "NamedPicture",
                "type": "object",
                "description": "One of `source`, `upload` and `url`",
                "properties": {
                    **{name: {**_TEXT, "description": said} for name, said in _NAMED.items()},
                    "model": _SAID["model"],
                },
                "additionalProperties": {"type": ["string", "number"]},
            }
        },
        "image/*": _PICTURE,
        "application/octet-stream": _PICTURE,
    },
}
PARAMETERS: Final = [{"name": name, "in": "query", "schema": schema} for name, schema in _SAID.items()]
