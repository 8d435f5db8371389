"""One file and some short fields as `multipart/form-data` (RFC 7578), parsed as they arrive; names are never used."""

from __future__ import annotations

import logging
from io import BytesIO
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from copperplate.errors import BodyTooLarge, InvalidBody

if TYPE_CHECKING:
    from collections.abc import Mapping

    from python_multipart.multipart import MultipartCallbacks

FILE: Final = "file"
# A form is a file and some words: more is no form of ours.
MAX_PARTS: Final = 32
MAX_FIELD_BYTES: Final = 1_024
# What a form may hold beside its file: fields, headers of parts, boundaries.
MAX_OTHER_BYTES: Final = 64 * 1024
# RFC 2046, 5.1.1.
_MAX_BOUNDARY: Final = 70
_MALFORMED: Final = "This is not multipart/form-data as RFC 7578 has it."

# It tells every fault of a form, with bytes of it.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class MultipartForm:
    """Takes a body in pieces. `fields` are those that are no file, by name; a file of another name is passed over.

    All methods raise `InvalidBody` and `BodyTooLarge`.
    """

    def __init__(self, content_type: str, *, max_file_bytes: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 0 < len(boundary) <= _MAX_BOUNDARY:
            raise InvalidBody("Content-Type names no boundary of 1 to 70 characters.")
        self._delimiter = b"\r\n--" + boundary
        self._max_file_bytes = max_file_bytes
        self._fields: dict[str, list[bytes]] = {}
        self._file: BytesIO | None = None
        self._into: BytesIO | None = None
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._parts = 0
        self._other_bytes = 0
        self._file_bytes = 0
        self._delimiters = 0
        self._is_ended = False
        self._parser = MultipartParser(boundary, self._callbacks())

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        # The parser goes byte by byte through what looks like a delimiter.
        self._delimiters += chunk.count(self._delimiter)
        if self._delimiters > MAX_PARTS + 1:
            raise InvalidBody(f"A form has at most {MAX_PARTS} parts.")
        before = self._file_bytes
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise InvalidBody(_MALFORMED) from None
        self._other_bytes += len(chunk) - (self._file_bytes - before)
        if self._other_bytes > MAX_OTHER_BYTES:
            raise BodyTooLarge(f"Beside its file a form may have {MAX_OTHER_BYTES:,} bytes.")

    def finish(self) -> tuple[bytes, Mapping[str, str]]:
        """The file and the fields, once the whole body was written."""
        if not self._is_ended:
            raise InvalidBody("The form was cut off: its last boundary is missing.")
        if self._file is None:
            raise InvalidBody("The form has no part named `file`.")
        try:
            fields = {name: values[0].decode() for name, values in self._fields.items()}
        except UnicodeDecodeError:
            raise InvalidBody("A field is not UTF-8.") from None
        return self._file.getvalue(), fields

    @property
    def repeated(self) -> frozenset[str]:
        """Names of fields that are there more than once."""
        return frozenset(name for name, values in self._fields.items() if len(values) > 1)

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._add_to_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_to_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._add,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidBody(f"A form has at most {MAX_PARTS} parts.")
        self._headers, self._header, self._into = {}, [b"", b""], None

    def _add_to_header(self, part: int, data: bytes) -> None:
        self._header[part] += data

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() in self._headers:
            raise InvalidBody(_MALFORMED)
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _begin_content(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise InvalidBody(_MALFORMED)
        name = options[b"name"].decode(errors="replace")
        if name == FILE:
            if self._file is not None:
                raise InvalidBody("The form has two files. Send one.")
            self._file = self._into = BytesIO()
        elif b"filename" not in options:
            self._fields.setdefault(name, []).append(b"")
            self._into = BytesIO()
        self._name = name

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._into is None:  # another file
            return
        if self._into is self._file:
            self._file_bytes += end - start
            if self._file_bytes > self._max_file_bytes:
                raise BodyTooLarge(f"A file may have {self._max_file_bytes:,} bytes.")
        elif self._into.tell() + end - start > MAX_FIELD_BYTES:
            raise BodyTooLarge(f"A field may have {MAX_FIELD_BYTES:,} bytes.")
        self._into.write(memoryview(data)[start:end])

    def _end_part(self) -> None:
        if self._into is not None and self._into is not self._file:
            self._fields[self._name][-1] = self._into.getvalue()

    def _end(self) -> None:
        self._is_ended = True
