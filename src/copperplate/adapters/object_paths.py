"""The grammar of object names, the same for every store."""

from __future__ import annotations

import re

# Of the secret of a store's addresses: as long as the digest that HMAC-SHA256 makes with it.
SECRET_BYTES = 32
# YYYY/MM/<64 hex digits>.<format>. Nothing else reaches a store, so nothing can climb out of it. A gif is never made
# here: it may be uploaded, to be processed.
_OBJECT_PATH = re.compile(r"[0-9]{4}/(?:0[1-9]|1[0-2])/[0-9a-f]{64}\.(?:jpg|png|webp|avif|gif)", re.ASCII)

_YEAR = re.compile(r"[0-9]{4}", re.ASCII)
_MONTH = re.compile(r"[0-9]{4}/(?:0[1-9]|1[0-2])", re.ASCII)


def check_object_path(path: str) -> str:
    """Answer `path` unchanged if it is an object's name; raises ValueError otherwise."""
    if _OBJECT_PATH.fullmatch(path) is None:
        message = (
            f"not an object name: {path[:120]!r}; expected YYYY/MM/<64 hex digits>.jpg, .png, .webp, .avif or .gif"
        )
        raise ValueError(message)
    return path


def is_object_path(path: str) -> bool:
    """Whether `path` is an object's name."""
    return _OBJECT_PATH.fullmatch(path) is not None


def is_month(folder: str) -> bool:
    """Whether `folder` is one that objects lie in, `YYYY/MM`."""
    return _MONTH.fullmatch(folder) is not None


def is_year(folder: str) -> bool:
    """Whether `folder` is one that months lie in."""
    return _YEAR.fullmatch(folder) is not None


def check_body(body: bytes) -> bytes:
    """Answer `body` unchanged; raises ValueError if it is empty, for no picture is."""
    if not body:
        message = "refusing to store an empty object"
        raise ValueError(message)
    return body
