"""Bytes in base64, in every form in which an API may write the same. Pure."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import Final
from urllib.parse import unquote

# RFC 2397: the media type and its parameters may be missing, and quoted; what is not in base64 is text. As in every
# URL, each letter of the rest may be written with a percent sign.
_DATA_URL: Final = re.compile(r"""data:(?:[^,"]|"[^"]*"){0,200}?;base64,""", re.IGNORECASE)
_URL_SAFE: Final = str.maketrans("-_", "+/")


def read_base64(text: str) -> bytes:
    """The bytes, from plain or URL-safe letters, with or without padding, in lines, or in a `data:` URL.

    Raises `ValueError` for everything else.
    """
    if text[:100].lstrip()[:5].casefold() == "data:":
        text = text.lstrip()
        head = _DATA_URL.match(text[:300])
        if head is None:
            message = "the data URL is not in base64"
            raise ValueError(message)
        text = unquote(text[head.end() :])
    with contextlib.suppress(ValueError):  # as it nearly always is: no copy is made
        return base64.b64decode(text, validate=True)
    letters = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
