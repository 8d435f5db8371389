"""Where we go with our key, where pictures are fetched from and uploaded to, and what fal can load itself."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

import httpx

from copperplate.adapters.fal.hosts import REST_URL
from copperplate.errors import Uncollected

FAL_HOSTS: Final = (".fal.media", "storage.googleapis.com")
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

# Parsers differ on everything else (white space, backslashes, letters beyond ASCII): it is refused.
_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses that may be called while the queue is at `queue_url`."""

    queue_url: str
    # Host names, or `.suffix` for a domain and all below it, beside fal's own.
    result_hosts: tuple[str, ...] = ()
    # Where uploads begin.
    rest_url: str = REST_URL

    @property
    def local_queue(self) -> httpx.URL | None:
        """The queue where it is on loopback: the stand-in of tests and demos serves its pictures itself."""
        queue = httpx.URL(self.queue_url)
        return queue if queue.host in LOOPBACK else None

    @property
    def local_rest(self) -> httpx.URL | None:
        """The same for uploads."""
        rest = httpx.URL(self.rest_url)
        return rest if rest.host in LOOPBACK else None

    def of_job(self, url: object) -> httpx.URL:
        """An address of the queue itself, where our key is sent. Raises `Uncollected` for any other."""
        parsed = _parse(url)
        if _origin(parsed) != _origin(httpx.URL(self.queue_url)):
            raise _refused("a job outside the queue of COPPERPLATE_FAL_QUEUE_URL", parsed.host)
        return parsed

    def of_file(self, url: object) -> httpx.URL:
        """An address pictures are fetched from. Raises `Uncollected` for any other."""
        parsed = _parse(url)
        if self.local_queue is not None and _origin(parsed) == _origin(self.local_queue):
            return parsed
        host = parsed.host
        if not any(_covers(known, host) for known in (*FAL_HOSTS, *self.result_hosts)):
            raise _refused("a picture at a host that is neither fal's nor in COPPERPLATE_RESULT_HOSTS", host)
        if parsed.scheme != "https" or parsed.port is not None:
            raise _refused("a picture that is not at the https port of", host)
        return parsed

    def of_upload(self, url: object) -> httpx.URL:
        """An address an input is uploaded to, or lies at from then on. Raises `Uncollected` for any other."""
        parsed = _parse(url)
        if self.local_rest is not None and _origin(parsed) == _origin(self.local_rest):
            return parsed
        host = parsed.host
        is_fals = any(_covers(known, host) for known in FAL_HOSTS)
        if not is_fals or parsed.scheme != "https" or parsed.port is not None:
            raise _refused("an upload at a host that is not fal's", host)
        return parsed

    def can_load(self, url: str) -> bool:
        """Whether fal can load what is at this address of ours: not what is on this machine, or in its network."""
        try:
            parsed = _parse(url)
        except Uncollected:
            return False
        if self.local_queue is not None:
            return True
        return parsed.scheme == "https" and _is_public_name(parsed.host)


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


def _is_public_name(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localhost"))


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _covers(known: str, host: str) -> bool:
    """Whether `known` is that host, or, as `.suffix`, its domain or one above it."""
    return host == known.removeprefix(".") or (known.startswith(".") and host.endswith(known))


def _refused(what: str, shown: str) -> Uncollected:
    return Uncollected(f"fal answered with {what}: {shown[:100]!r}", needs_operator=True)
