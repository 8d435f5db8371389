"""Pictures that exist already: files below one folder, and https addresses of public hosts."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import stat
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from copperplate.adapters.bounded_stream import PLAIN, Unreadable, check_plain, read_beginning
from copperplate.adapters.judged_transport import AddressRefused, JudgedTransport, resolver_of_its_own
from copperplate.ports.sources import SourceRefused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

MAX_REDIRECTS: Final = 3
MAX_URL_CHARS: Final = 4_000
# For one picture, redirects included.
SECONDS: Final = 60.0
LOOKUP_THREADS: Final = 4
# One message for a name that is not known, one that leads to a private address, and a host that does not answer:
# else it would tell which hosts and ports a private network has.
NO_PUBLIC_HOST: Final = "no public host answers at the address, or its certificate is another host's"
# What every parser reads alike. A backslash, a space or another script's digit is read in several ways.
_BEGINNING: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?:(?P<name>[a-z0-9._-]+)|\[(?P<six>[0-9a-f:.]+)\])(?::[0-9]{1,5})?(?:[/?#]|\Z)",
    re.ASCII | re.IGNORECASE,
)
# The last label begins with a letter: `0x7f.1` and `2130706433` are addresses that the C library reads, and no names.
_NAME: Final = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*", re.ASCII | re.IGNORECASE)


class Folder:
    """Files below `root`: what leaves it by `..`, by an absolute path or through a link is refused."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root.resolve()
        self._max_bytes = max_bytes

    async def read(self, name: str) -> bytes:
        """See `PictureSource.read`."""
        return await asyncio.to_thread(self._read, name)

    def _read(self, name: str) -> bytes:
        if not name.isprintable() or ".." in Path(name).parts:
            raise SourceRefused("the file's name has control characters or .. in it")
        try:
            # Links are followed here, and where they lead is judged.
            place = (self._root / name).resolve(strict=True)
            if not place.is_relative_to(self._root):
                raise SourceRefused("the file is not below --root")
            return self._read_whole(place)
        except FileNotFoundError:
            raise SourceRefused("there is no such file below --root") from None
        except IsADirectoryError:
            raise SourceRefused("it is no file") from None
        except RuntimeError:  # before Python 3.13; then an OSError
            raise SourceRefused("the file cannot be read: its links lead in a ring") from None
        except OSError as error:
            raise SourceRefused(f"the file cannot be read: {error.strerror or 'no reason is known'}") from None

    def _read_whole(self, place: Path) -> bytes:
        with open(place, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SourceRefused("it is no file")
            body = file.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise SourceRefused(f"the file has more than {self._max_bytes:,} bytes")
        return body


def _open(path: str, flags: int) -> int:
    # A link that stands there since is not followed, and a pipe is not waited for.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


class Web:
    """Pictures by https, a few redirects deep. `schemes` are what addresses may begin with.

    `ports` are those that are connected to; None: any. `seconds` are for one picture, redirects included.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        max_bytes: int,
        *,
        schemes: Collection[str] = ("https",),
        ports: Collection[int] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._schemes = schemes
        self._ports = ports
        self._seconds = seconds

    async def read(self, name: str) -> bytes:
        """See `PictureSource.read`."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(self._address(name))
        except TimeoutError:
            raise SourceRefused(f"the picture did not arrive within {self._seconds:.0f} s") from None
        except (AddressRefused, httpx.ConnectError, httpx.ConnectTimeout):
            raise SourceRefused(NO_PUBLIC_HOST) from None
        except Unreadable as error:
            raise SourceRefused(str(error)) from None
        except httpx.HTTPError as error:
            raise SourceRefused(f"the picture's host failed: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _follow(self, address: httpx.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._client.stream("GET", address, follow_redirects=False) as response:
                if not response.has_redirect_location:
                    return await self._read_whole(response)
                # Each hop is judged like the first.
                address = self._address(response.headers["location"], seen_from=address)
        raise SourceRefused(f"the picture is behind more than {MAX_REDIRECTS} redirects")

    async def _read_whole(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise SourceRefused(f"the address answers {response.status_code}")
        check_plain(response.headers)
        body = await read_beginning(response, self._max_bytes)
        if len(body) > self._max_bytes:
            raise SourceRefused(f"the picture has more than {self._max_bytes:,} bytes")
        return body

    def _address(self, raw: str, *, seen_from: httpx.URL | None = None) -> httpx.URL:
        if len(raw) > MAX_URL_CHARS or "\\" in raw or " " in raw or not raw.isprintable():
            raise SourceRefused("the address is too long, or has a space, a backslash or a control character in it")
        try:
            address = httpx.URL(raw) if seen_from is None else seen_from.join(raw)
        except (httpx.InvalidURL, ValueError, TypeError):
            raise SourceRefused("the address cannot be read") from None
        if address.userinfo:
            raise SourceRefused("an address names no user and no password")
        beginning = _BEGINNING.match(raw if seen_from is None else str(address))
        if beginning is None or address.scheme not in self._schemes or not _is_host(address, beginning):
            raise SourceRefused("an address begins with https:// and a host, in the letters of ASCII")
        if address.port is not None and not 0 < address.port < 65_536:
            raise SourceRefused("the address has no such port")
        port = address.port or (443 if address.scheme == "https" else 80)
        if self._ports is not None and port not in self._ports:
            raise SourceRefused(f"an address has no port but {', '.join(map(str, self._ports))}")
        return address


def _is_host(address: httpx.URL, beginning: re.Match[str]) -> bool:
    """Whether the host is a whole name, or a numeric address in its usual form, and httpx read the same one."""
    name, six = beginning["name"], beginning["six"]
    if address.raw_host.decode("ascii") != (name or six).lower():
        return False
    try:
        return bool(ipaddress.ip_address(name or six))
    except ValueError:
        return name is not None and _NAME.fullmatch(name) is not None


def make_web_client(tls: ssl.SSLContext, *, exempt: httpx.URL | None = None) -> httpx.AsyncClient:
    """A client that connects to public addresses only and sends nothing of ours; its caller closes it.

    It keeps no cookie, or one picture's host would know the next caller by it. `exempt` is for tests: see
    `JudgedTransport`.
    """
    return httpx.AsyncClient(
        headers={**PLAIN, "User-Agent": "copperplate"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        transport=JudgedTransport(tls, exempt=exempt, resolve=resolver_of_its_own(LOOKUP_THREADS)),
        timeout=httpx.Timeout(30, connect=10),
        trust_env=False,  # no password of a .netrc goes anywhere
    )
