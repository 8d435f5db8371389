"""Where we go with our key, and where we fetch a picture from: two short lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httpx

from copperplate.errors import ProviderFailed
from copperplate.model import FailureClass

FILE_HOST: Final = "fal.media"  # with its subdomains
BUCKET_HOST: Final = "storage.googleapis.com"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

# Parsers differ on everything else (white space, backslashes, letters beyond ASCII): it is refused.
_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses that may be called while the queue is at `queue_url`."""

    queue_url: str

    def of_job(self, url: object) -> httpx.URL:
        """An address of the queue itself, where our key is sent. Raises `ProviderFailed` for any other."""
        parsed = _parse(url)
        if _origin(parsed) != _origin(httpx.URL(self.queue_url)):
            raise _refused("an address outside the queue", parsed.host)
        return parsed

    def of_file(self, url: object) -> httpx.URL:
        """An address pictures are fetched from. Raises `ProviderFailed` for any other."""
        parsed = _parse(url)
        queue = httpx.URL(self.queue_url)
        if queue.host in LOOPBACK and _origin(parsed) == _origin(queue):
            return parsed  # the stand-in of tests and demos serves its pictures itself
        host = parsed.host
        is_known = host in (FILE_HOST, BUCKET_HOST) or host.endswith(f".{FILE_HOST}")
        if parsed.scheme != "https" or parsed.port is not None or not is_known:
            raise _refused("a picture at an address that is not fal's", host)
        return parsed


def _parse(url: object) -> httpx.URL:
    if not isinstance(url, str) or _PLAIN.fullmatch(url) is None:
        raise _refused("an address that is none", type(url).__name__)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused("an address that is none", type(error).__name__) from error
    if parsed.userinfo or not parsed.host:
        raise _refused("an address with a user name or without a host", parsed.host)
    return parsed


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _refused(what: str, shown: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.BAD_OUTPUT, f"fal answered with {what}: {shown[:100]!r}")
