"""Fetch a picture's bytes: known hosts, so many bytes, so much time. What they are, `Images.verify` decides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx

from copperplate.adapters.base64_forms import read_base64
from copperplate.adapters.bounded_stream import PLAIN, read_beginning
from copperplate.adapters.fal.jobs import Trouble
from copperplate.adapters.judged_transport import AddressRefused, JudgedTransport
from copperplate.errors import ProviderFailed, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.imaging.header import MAX_BODY_BYTES, is_text

if TYPE_CHECKING:
    import ssl

    from copperplate.adapters.fal.addresses import Addresses

MAX_REDIRECTS: Final = 3
FILE_SECONDS: Final = 60.0


class Files:
    """Fetches pictures. Its client never carries our key."""

    def __init__(self, addresses: Addresses, tls: ssl.SSLContext, *, seconds: float = FILE_SECONDS) -> None:
        self._addresses = addresses
        self._seconds = seconds
        self._http = httpx.AsyncClient(
            headers=PLAIN,
            transport=JudgedTransport(tls, exempt=addresses.local_queue),
            timeout=httpx.Timeout(seconds, connect=5),
            trust_env=False,  # no password of a .netrc goes to where a picture lies
        )

    async def fetch(self, url: object) -> bytes:
        """The bytes at `url`, or in it where it is a `data:` URL.

        Raises `ProviderFailed` (bad output) for what is too large, `Uncollected` for an address that is refused, and
        `Trouble` for all else: the picture is paid for and may be had yet.
        """
        if isinstance(url, str) and url.startswith("data:"):
            return _decode(url)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url)
        except TimeoutError:
            raise Trouble(f"the picture did not arrive within {self._seconds} s") from None
        except AddressRefused as error:
            raise Uncollected(f"a picture is at a host that is not public: {error}", needs_operator=True) from error
        except httpx.HTTPError as error:
            raise Trouble(f"the picture's host failed: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _follow(self, url: object) -> bytes:
        """Follow at most three redirects; each hop is checked like the first."""
        for _ in range(MAX_REDIRECTS + 1):
            address = self._addresses.of_file(url)
            async with self._http.stream("GET", address) as response:
                if not response.has_redirect_location:
                    return await _read(response)
                url = str(address.join(response.headers["location"]))
        raise Trouble(f"the picture is behind more than {MAX_REDIRECTS} redirects")


async def _read(response: httpx.Response) -> bytes:
    if response.status_code != 200:
        raise Trouble(f"the picture's address answers {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Trouble("the picture comes compressed, which we did not ask for")
    body = await read_beginning(response, MAX_BODY_BYTES)
    if len(body) > MAX_BODY_BYTES:
        raise _bad(f"the picture has more than {MAX_BODY_BYTES} bytes")
    if not body:
        raise Trouble("the picture's address answers nothing")
    if is_text(body):
        raise Trouble("the picture's address answers a page")
    return body


def _decode(url: str) -> bytes:
    if len(url) > MAX_BODY_BYTES * 4 // 3 + 200:
        raise _bad("the picture's data URL is too long")
    try:
        return read_base64(url)
    except ValueError as error:
        raise Trouble("the picture's data URL is not in base64") from error


def _bad(message: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.BAD_OUTPUT, message)
