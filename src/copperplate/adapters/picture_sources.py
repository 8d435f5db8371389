"""Pictures that exist already: files below one folder, and https addresses of public hosts."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from copperplate.adapters.bounded_stream import PLAIN, Unreadable, check_plain, read_beginning
from copperplate.adapters.judged_transport import AddressRefused, JudgedTransport
from copperplate.ports.sources import SourceRefused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

MAX_REDIRECTS: Final = 3
MAX_URL_CHARS: Final = 4_000
# For one picture, redirects included.
SECONDS: Final = 60.0


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
    """Pictures by https, a few redirects deep. `schemes` are what addresses may begin with."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        max_bytes: int,
        *,
        schemes: Collection[str] = ("https",),
        seconds: float = SECONDS,
    ) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._schemes = schemes
        self._seconds = seconds

    async def read(self, name: str) -> bytes:
        """See `PictureSource.read`."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(self._address(name))
        except TimeoutError:
            raise SourceRefused(f"the picture did not arrive within {self._seconds:.0f} s") from None
        except AddressRefused:
            raise SourceRefused("the address is at a host that is not public") from None
        except Unreadable as error:
            raise SourceRefused(str(error)) from None
        except httpx.HTTPError as error:
            raise SourceRefused(f"the picture's host failed: {type(error).__name__}") from None

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
        try:
            address = httpx.URL(raw) if seen_from is None else seen_from.join(raw)
        except (httpx.InvalidURL, ValueError, TypeError):
            raise SourceRefused("the address cannot be read") from None
        if address.scheme not in self._schemes or not address.host or len(raw) > MAX_URL_CHARS:
            raise SourceRefused("an address begins with https:// and a host")
        if not 0 < (address.port or 443) < 65_536:
            raise SourceRefused("the address has no such port")
        if address.userinfo:
            raise SourceRefused("an address names no user and no password")
        return address


def make_web_client(tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client that connects to public addresses only and sends nothing of ours; its caller closes it."""
    return httpx.AsyncClient(
        headers=PLAIN,
        transport=JudgedTransport(tls),
        timeout=httpx.Timeout(30, connect=10),
        trust_env=False,  # no password of a .netrc goes anywhere
    )
