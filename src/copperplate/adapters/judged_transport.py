"""An httpx transport that connects to public addresses only: every address of a host is judged, a judged one is used.

A name is resolved once for each request, redirects included, and the connection is made to an address of that very
answer, with the name as SNI and `Host`: a second answer of the resolver (rebinding) is never asked for. One address
that is not public refuses the host. Proxies of the environment are not used: they resolve names themselves, unjudged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

RESOLVE_SECONDS: Final = 5.0
MAX_TRIED: Final = 4
PROXY_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")

# RFC 6890 and the IANA registries of special-purpose addresses; `is_global` of older Pythons lacks some.
REFUSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent answers its guests here, in a public range
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001:3::/32",  # AMT
        "2001:4:112::/48",  # AS112
        "2001:db8::/32",
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",
    )
)
# All that IPv6 hands out for the internet (RFC 4291). Every other range is refused, but for NAT64 and IPv4-mapped.
UNICAST: Final = ipaddress.IPv6Network("2000::/3")
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(httpx.TransportError):
    """`host` has an address that is not public; nothing was sent."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} resolves to {address}, which is not a public address")
        self.host = host


class JudgedTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses only, and to `exempt` (scheme, host and port alone count) as it stands.

    Requests must be repeatable until they are sent, so without a streamed body. No connection is kept: one is known
    by its address, and another host at the same address has another certificate.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        exempt: httpx.URL | None = None,
        resolve: Resolve | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._exempt = exempt
        self._resolve = resolve or _resolve
        self._inner = inner or httpx.AsyncHTTPTransport(
            verify=tls, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        if any(os.environ.get(name) for name in PROXY_VARIABLES):
            logger.warning("pictures are fetched without the proxy of the environment: it would choose the address")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` to a judged address of its host; raises `AddressRefused`, or what httpx raises."""
        if self._exempt is not None and _origin(request.url) == _origin(self._exempt):
            return await self._inner.handle_async_request(request)
        addresses = await self._judged(request.url)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise httpx.ConnectError(f"{request.url.host} has no address", request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _judged(self, url: httpx.URL) -> list[str]:
        host = _ascii_host(url)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError, TimeoutError) as error:
            raise httpx.ConnectError(f"{host} cannot be resolved") from error
        for address in found:
            if not is_public(address):
                raise AddressRefused(host, address)
        return list(dict.fromkeys(found))[:MAX_TRIED]


def is_public(address: str) -> bool:
    """Whether a numeric address, and the IPv4 address inside it where there is one, is anybody's on the internet."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return False
        if _is_isatap(parsed) and not is_public(str(_last_four_bytes(parsed))):
            return False
        if inner := _inside(parsed):
            return all(is_public(str(embedded)) for embedded in inner)
        if parsed not in UNICAST:
            return False
    in_refused = any(parsed.version == network.version and parsed in network for network in REFUSED)
    return parsed.is_global and not in_refused


def _inside(address: ipaddress.IPv6Address) -> tuple[Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    return (_last_four_bytes(address),) if address in NAT64 else ()


def _last_four_bytes(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """Whether the interface part is an IPv4 address's (RFC 5214); the bit masked out says whether that is global."""
    return int(address) >> 32 & 0xFDFFFFFF == 0x5EFE


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """`request` to a numeric address; its Host header stays, and the certificate must be that of its host."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": _ascii_host(request.url)},
    )


def _ascii_host(url: httpx.URL) -> str:
    """The host as it goes over the wire: what is resolved, sent and compared with the certificate is one name."""
    return url.raw_host.decode("ascii")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


async def _resolve(host: str, port: int) -> list[str]:
    return _numeric(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))


def resolver_of_its_own(threads: int) -> Resolve:
    """A resolver in so many threads of its own: a name server that does not answer holds up nothing else."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lookup")

    async def resolve(host: str, port: int) -> list[str]:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return _numeric(await asyncio.get_running_loop().run_in_executor(pool, look_up))

    return resolve


def _numeric(answers: Sequence[tuple[object, object, object, object, tuple[object, ...]]]) -> list[str]:
    return [str(answer[4][0]) for answer in answers]
