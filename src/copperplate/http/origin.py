"""Who sent a request, and to which host: what of its headers counts, by the settings.

Anybody can write any header. `X-Forwarded-*` count where the connection comes from a proxy that
`COPPERPLATE_TRUSTED_PROXIES` names, or from Vercel; a host makes an address only where it is known to be ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from copperplate.errors import InvalidHost

if TYPE_CHECKING:
    from starlette.types import Scope

    from copperplate.settings import Settings

    Address = IPv4Address | IPv6Address

# A host as a URL may name it, with its port: RFC 3986 without what no server is called.
_AUTHORITY: Final = re.compile(r"([a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])\.?(?::([0-9]{1,5}))?")
_WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
# More hops than any chain of proxies has.
MAX_HOPS: Final = 32
MAX_PORT: Final = 65_535
PORTS: Final = {"http": 80, "https": 443}
_REMEDY: Final = (
    "Addresses are not made from a host that is not known to be this server's: set COPPERPLATE_PUBLIC_BASE_URL, or "
    "name the host in COPPERPLATE_ALLOWED_HOSTS. A proxy has to pass on the host that it was asked for."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is known of one request.

    `scheme` is http or https; `host` is lower case, with its port, None where it is not one that makes addresses;
    `client` is the caller's address, None where the connection has none (a Unix socket).
    """

    scheme: str
    host: str | None
    client: Address | None


def origin_of(scope: Scope, settings: Settings) -> Origin:
    """Read a request of ASGI."""
    peer = _peer(scope)
    has_proxy = settings.on_vercel or (peer is not None and is_trusted(peer, settings))
    scheme = _last(scope, b"x-forwarded-proto").lower() if has_proxy else ""
    if scheme not in ("http", "https"):
        scheme = "https" if scope.get("scheme") == "https" else "http"
    host = _host(scope, settings, scheme=scheme, peer=peer, has_proxy=has_proxy)
    return Origin(scheme=scheme, host=host, client=client_of(scope, settings))


def base_url_of(scope: Scope, settings: Settings) -> str:
    """The address under which the sender of a request reaches this server, without a slash at its end.

    Raises `InvalidHost` where the request names a host that is not known to be ours.
    """
    if settings.public_base_url is not None:
        return settings.public_base_url
    origin = origin_of(scope, settings)
    if origin.host is None:
        raise InvalidHost(_REMEDY)
    return f"{origin.scheme}://{origin.host}{scope.get('root_path', '')}".rstrip("/")


def has_one_host(scope: Scope) -> bool:
    """Whether a request names one host, as HTTP/1.1 demands (RFC 9112, 3.2); 1.0 may name none."""
    count = 0
    for name, _ in scope["headers"]:
        if name == b"host":
            count += 1
    return count == 1 or (count == 0 and scope.get("http_version") == "1.0")


def parse_address(text: str) -> Address | None:
    """An IP address as proxies write it: with or without brackets, port and zone; None for anything else.

    An IPv4 address inside of an IPv6 one is the IPv4 address: one caller has one address.
    """
    text = text.strip()
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        text = found[1] or found[2]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted(address: Address, settings: Settings) -> bool:
    """Whether what a proxy at this address says of its callers counts."""
    return any(address in network for network in settings.trusted_proxies or ())


def client_of(scope: Scope, settings: Settings) -> Address | None:
    """The caller's address: the last hop that is no trusted proxy, as anybody may have written those before it.

    None where the connection has none (a Unix socket).
    """
    peer = _peer(scope)
    if settings.on_vercel:
        return parse_address(_last(scope, b"x-real-ip")) or parse_address(_last(scope, b"x-forwarded-for")) or peer
    client = peer
    if not settings.trusted_proxies:
        return client
    for hop in reversed(_values(scope, b"x-forwarded-for")[-MAX_HOPS:]):
        if client is None or not is_trusted(client, settings):
            break
        address = parse_address(hop)
        if address is None:
            break
        client = address
    return client


def _peer(scope: Scope) -> Address | None:
    """Who is connected: the caller, or a proxy."""
    return parse_address((scope.get("client") or ("",))[0])


def _host(scope: Scope, settings: Settings, *, scheme: str, peer: Address | None, has_proxy: bool) -> str | None:
    forwarded = _last(scope, b"x-forwarded-host") if has_proxy else ""
    named = _parse_host((forwarded or _last(scope, b"host")).lower())
    if named is None:
        return None
    is_ours = any(_is_at(named, ours, scheme, scope) for ours in _allowed(settings))
    # The operator's own proxy says which host its caller named. It may pass on what its caller wrote there, so
    # COPPERPLATE_ALLOWED_HOSTS holds for it too. Vercel's names every domain of a project.
    if forwarded and not settings.on_vercel:
        is_ours |= settings.allowed_hosts is None
    # Without X-Forwarded-Host the Host of a proxied request is where the proxy finds this server, not its callers.
    is_ours |= not has_proxy and (_is_local(named[0], peer) or _is_server(named, scheme, scope))
    name, port = named
    return (name if port is None else f"{name}:{port}") if is_ours else None


def _parse_host(text: str) -> tuple[str, int | None] | None:
    """The name and the port that it may have."""
    found = _AUTHORITY.fullmatch(text)
    if found is None or not 0 < int(found[2] or 1) <= MAX_PORT:
        return None
    return found[1], None if found[2] is None else int(found[2])


def _allowed(settings: Settings) -> list[tuple[str, int | None]]:
    urls = (settings.vercel_url, settings.vercel_branch_url, settings.vercel_production_url)
    hosts = [*(settings.allowed_hosts or ()), *(url.lower() for url in urls if url and settings.on_vercel)]
    return [host for host in map(_parse_host, hosts) if host is not None]


def _is_at(named: tuple[str, int | None], ours: tuple[str, int | None], scheme: str, scope: Scope) -> bool:
    """Whether a host is this one of ours, whose ports are the scheme's and the one listened on where it has none."""
    usual = PORTS[scheme]
    ports = {usual, (scope.get("server") or ("", None))[1]} if ours[1] is None else {ours[1]}
    return named[0] == ours[0] and (named[1] or usual) in ports


def _is_local(name: str, peer: Address | None) -> bool:
    """Whether a caller on this machine names this machine, with any port: it may come through a tunnel."""
    address = parse_address(name)
    is_loopback = name == "localhost" or (address is not None and address.is_loopback)
    return is_loopback and peer is not None and peer.is_loopback


def _is_server(named: tuple[str, int | None], scheme: str, scope: Scope) -> bool:
    """Whether it is where the connection was accepted: the bind address, with 0.0.0.0 the one connected to."""
    server = str((scope.get("server") or ("",))[0]).lower()
    address = parse_address(server)
    if address is not None and address.is_loopback:
        return False  # only for callers on this machine, see above
    is_there = named[0] == server if address is None else parse_address(named[0]) == address
    return is_there and _is_at(named, (named[0], None), scheme, scope)


def _values(scope: Scope, wanted: bytes) -> list[str]:
    """The members of a list, which may be spread over several headers."""
    sent = [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
    return [value.strip() for value in ",".join(sent).split(",")]


def _last(scope: Scope, wanted: bytes) -> str:
    """The value of the nearest hop."""
    return _values(scope, wanted)[-1]
