"""Headers as ASGI has them, and as they are sent."""

from __future__ import annotations

import re
from typing import Final

RawHeaders = list[tuple[bytes, bytes]]

_NO_NAME: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_NO_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def lines_of(headers: RawHeaders) -> bytes:
    """The lines of a head (RFC 9112, 5), of headers that are known to be right."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def checked_lines_of(headers: RawHeaders) -> bytes:
    """The same. Raises `ValueError` for what is no name, or no value, of a header."""
    for name, value in headers:
        if not name or _NO_NAME.search(name) or _NO_VALUE.search(value):
            message = f"no header can be sent as {name!r}"
            raise ValueError(message)
    return lines_of(headers)
