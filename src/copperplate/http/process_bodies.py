"""Bodies that bring a picture: a form with a file, its bytes, or JSON that names it. Bounded in bytes and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect

from copperplate.errors import BodyTooLarge, InvalidBody, UnsupportedMediaType
from copperplate.http.bodies import READ_SECONDS, read_json_object
from copperplate.http.multipart_forms import MAX_OTHER_BYTES, MultipartForm
from copperplate.http.vercel import MAX_FILE_BYTES as MAX_VERCEL_FILE_BYTES
from copperplate.model import MAX_PICTURE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from fastapi import Request

    from copperplate.processing.held_pictures import HeldPicture
    from copperplate.processing.upload_budget import Reading, UploadBudget
    from copperplate.processing.upload_shares import Uploader

    class _Sink(Protocol):
        """What takes a body in pieces."""

        def write(self, chunk: bytes, /) -> Any:
            """Take the next bytes."""


MAX_FILE_BYTES: Final = MAX_PICTURE_BYTES
# Beside the seconds that any body has: a body that is slower is ended.
MIN_BYTES_PER_SECOND: Final = 64 * 1024
# A head alone keeps a place for no longer.
FIRST_BYTE_SECONDS: Final = 3.0
# Where larger files are sent.
DIRECT_UPLOADS: Final = "/api/process/uploads"
JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
BYTES: Final = "application/octet-stream"
# Members of JSON that name a picture.
SOURCE: Final = "source"
UPLOAD: Final = "upload"
NAMING: Final = (SOURCE, UPLOAD, "url")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBody:
    """What a body brings: a picture, or one of `NAMING` and its value; and all that it says beside.

    `is_strict`: what is not known there is an error; in a form it is passed over.
    """

    file: HeldPicture | None = field(default=None, repr=False)
    named: tuple[str, str] | None = field(default=None, repr=False)
    fields: Mapping[str, str] = field(default_factory=dict)
    repeated: frozenset[str] = frozenset()
    is_strict: bool = True


def max_file_bytes(*, on_vercel: bool) -> int:
    """The largest picture in the body of a request."""
    return MAX_VERCEL_FILE_BYTES if on_vercel else MAX_FILE_BYTES


async def read_request_body(
    request: Request, budget: UploadBudget, uploader: Uploader, *, on_vercel: bool
) -> RequestBody:
    """What the body of this request brings.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, `InvalidBody` for what is malformed, cut off or slow,
    `TooManyUploads` and `TooManyUploadsOfCaller`.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == JSON:
        return _named(await read_json_object(request))
    is_form = media_type == FORM
    if not (is_form or media_type == BYTES or media_type.startswith("image/")):
        raise UnsupportedMediaType(
            f"Send the picture as {FORM} in a part named `file`, its bytes as Content-Type image/… or {BYTES}, or "
            f"{JSON} that names it."
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
    most = max_file_bytes(on_vercel=on_vercel)
    size_bytes = min(_announced_bytes(request, most), most)
    async with budget.shares.place(uploader, size_bytes) as place, budget.reading() as reading:
        if is_form:
            form = MultipartForm(content_type, max_file_bytes=most)
            await _Body(request, reading, max_bytes=most + MAX_OTHER_BYTES, on_vercel=on_vercel).read_into(form)
            file, fields = form.finish()
            picture = await reading.finish(file)
            await place.hold(picture)
            return RequestBody(file=picture, fields=fields, repeated=form.repeated, is_strict=False)
        # Its buffer becomes the value, without a copy.
        buffer = BytesIO()
        await _Body(request, reading, max_bytes=most, on_vercel=on_vercel).read_into(buffer)
        if not (file := buffer.getvalue()):
            raise InvalidBody("The body is empty: send the bytes of a picture.")
        picture = await reading.finish(file)
        await place.hold(picture)
        return RequestBody(file=picture)


def _announced_bytes(request: Request, default: int) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else default


class _Body:
    """A body that is read in pieces."""

    def __init__(self, request: Request, reading: Reading, *, max_bytes: int, on_vercel: bool) -> None:
        self._request = request
        self._reading = reading
        self._max_bytes = max_bytes
        self._on_vercel = on_vercel
        self._read_bytes = 0

    async def read_into(self, sink: _Sink) -> None:
        """Read it all. Nothing is read where Content-Length says that it is too large."""
        self._require_size(_announced_bytes(self._request, 0))
        try:
            await self._read(sink)
        except TimeoutError:
            if self._read_bytes == 0:
                raise InvalidBody(f"The body did not begin within {FIRST_BYTE_SECONDS:.0f} seconds.") from None
            raise InvalidBody(
                f"The body came too slowly: after {READ_SECONDS:.0f} seconds it may not fall below "
                f"{MIN_BYTES_PER_SECOND:,} bytes a second."
            ) from None
        except ClientDisconnect:
            raise InvalidBody("The body was cut off.") from None

    async def _read(self, sink: _Sink) -> None:
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(FIRST_BYTE_SECONDS) as limit:
            async for chunk in self._request.stream():
                self._read_bytes += len(chunk)
                self._require_size(self._read_bytes)
                # That there is no room is no fault of who sends.
                limit.reschedule(None)
                began += await self._reading.add(len(chunk))
                sink.write(chunk)
                limit.reschedule(began + READ_SECONDS + self._read_bytes / MIN_BYTES_PER_SECOND)

    def _require_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            larger = f" Send a larger file directly: POST {DIRECT_UPLOADS}." if self._on_vercel else ""
            raise BodyTooLarge(f"Send at most {max_file_bytes(on_vercel=self._on_vercel):,} bytes.{larger}")


def _named(body: dict[str, Any]) -> RequestBody:
    """What JSON names, numbers spelled out. Raises `InvalidBody`."""
    fields = {name: value for name, value in body.items() if value is not None}
    naming = [name for name in NAMING if name in fields]
    if len(naming) != 1:
        raise InvalidBody("Name one picture: by `source`, `upload` or `url`. Its bytes go into a form or a raw body.")
    named = fields.pop(naming[0])
    if not isinstance(named, str) or any(not _is_word(value) for value in fields.values()):
        raise InvalidBody("Members are strings, parameters may be numbers.")
    return RequestBody(named=(naming[0], named), fields={name: str(value) for name, value in fields.items()})


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
