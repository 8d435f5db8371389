"""The authorities that servers of the internet are vouched for by, read once for all HTTP clients of a process."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import ssl


def authorities() -> ssl.SSLContext:
    """As httpx has them: those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, else certifi's. To read them takes 20 ms."""
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
