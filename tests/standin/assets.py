"""STAND-IN: the bytes of an object, as a client of Supabase Storage sends and gets them."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from tests.standin.storage_state import Refused, Stored

if TYPE_CHECKING:
    from starlette.requests import Request


def read_upload(name: str, headers: Any, body: bytes) -> Stored:
    """The file of a form as storage3 and storage-js send it, or a bare body."""
    kind = headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return Stored(name, body, kind, headers.get("cache-control", "no-cache"))
    boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    seconds, file, media_type = "", b"", "application/octet-stream"
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        said = head.decode().lower()
        if "filename=" in said:
            file = content.removesuffix(b"\r\n")
            media_type = found[1].strip() if (found := re.search(r"content-type:([^\r\n]+)", said)) else media_type
        elif 'name="cachecontrol"' in said:
            seconds = content.removesuffix(b"\r\n").decode()
    return Stored(name, file, media_type, f"max-age={seconds}" if seconds else "no-cache")


def asset(request: Request, stored: Stored) -> Response:
    """An object's bytes, a part of them, or nothing where the caller has them."""
    headers = stored.headers()
    if (name := request.query_params.get("download")) is not None:
        named = f" filename={quote(name)}; filename*=UTF-8''{quote(name)};" if name else ""
        headers["content-disposition"] = f"attachment;{named}"
    if _is_held(request, stored):
        return Response(status_code=304, headers=headers | {"content-length": "0"})
    if part := re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "")):
        first, last = _bounds(part[1], part[2], len(stored.body))
        headers["content-range"] = f"bytes {first}-{last}/{len(stored.body)}"
        return Response(stored.body[first : last + 1], 206, headers)
    return Response(stored.body, 200, headers)


def _is_held(request: Request, stored: Stored) -> bool:
    """Whether the caller has the object; a tag counts before a date (RFC 9110)."""
    if (tags := request.headers.get("if-none-match")) is not None:
        return stored.etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    since = request.headers.get("if-modified-since")
    return since is not None and stored.updated_at.replace(microsecond=0) <= parsedate_to_datetime(since)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """The first and the last byte of a range; one without a first byte counts from the end."""
    if not first and not last:
        raise Refused("InvalidRange")
    begin = int(first) if first else max(size - int(last), 0)
    end = min(int(last) if first and last else size - 1, size - 1)
    if begin > end:
        raise Refused("InvalidRange")
    return begin, end
