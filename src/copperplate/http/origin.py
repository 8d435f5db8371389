"""Who sent a request and under which name it was sent: what may be believed of it, by the settings.

A header is what its sender says. `X-Forwarded-*` count where the connection comes from a proxy that
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
_REMEDY: Final = (
    "Addresses are not made from a host that is not known to be this server's: set COPPERPLATE_PUBLIC_BASE_URL, or "
    "name the host in COPPERPLATE_ALLOWED_HOSTS."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What may be believed of one request.

    `scheme` is http or https; `host` is lower case, with its port, None where it is not one that makes addresses;
    `client` is the caller's address, None where the connection has none (a Unix socket).
    """

    scheme: str
    host: str | None
    client: Address | None


def origin_of(scope: Scope, settings: Settings) -> Origin:
    """Read a request of ASGI."""
    peer = parse_address((scope.get("client") or ("",))[0])
    has_proxy = settings.on_vercel or (peer is not None and is_trusted(peer, settings))
    scheme = _last(scope, b"x-forwarded-proto").lower() if has_proxy else ""
    if scheme not in ("http", "https"):
        scheme = "https" if scope.get("scheme") == "https" else "http"
    return Origin(
        scheme=scheme, host=_host(scope, settings, has_proxy=has_proxy), client=_client(scope, settings, peer)
    )


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
    """Whether a proxy at this address is believed what it says of its callers."""
    return any(address in network for network in settings.trusted_proxies or ())


def _client(scope: Scope, settings: Settings, peer: Address | None) -> Address | None:
    """The last hop that no trusted proxy stands for; what is behind it anybody may have written."""
    if settings.on_vercel:
        return parse_address(_last(scope, b"x-real-ip")) or parse_address(_last(scope, b"x-forwarded-for")) or peer
    client = peer
    for hop in reversed(_values(scope, b"x-forwarded-for")[-MAX_HOPS:]):
        if client is None or not is_trusted(client, settings):
            break
        address = parse_address(hop)
        if address is None:
            break
        client = address
    return client


def _host(scope: Scope, settings: Settings, *, has_proxy: bool) -> str | None:
    forwarded = _last(scope, b"x-forwarded-host") if has_proxy else ""
    named = forwarded or _last(scope, b"host")
    found = _AUTHORITY.fullmatch(named.lower())
    if found is None or int(found[2] or 0) > 65_535:
        return None
    name = found[1]
    host = f"{name}:{found[2]}" if found[2] else name
    # A proxy of the operator's own says under which name it was asked; Vercel's name every domain of a project.
    is_told = bool(forwarded) and not settings.on_vercel
    return host if is_told or {name, host} & _allowed(scope, settings) or _is_local(name, settings) else None


def _allowed(scope: Scope, settings: Settings) -> set[str]:
    named = {*(settings.allowed_hosts or ())}
    if settings.on_vercel:
        urls = (settings.vercel_url, settings.vercel_branch_url, settings.vercel_production_url)
        return named | {url.lower() for url in urls if url}
    # Where the connection was accepted: the bind address, or with 0.0.0.0 the one that was connected to.
    server = str((scope.get("server") or ("",))[0]).lower()
    return named | {f"[{server}]" if ":" in server else server}


def _is_local(name: str, settings: Settings) -> bool:
    address = parse_address(name)
    return not settings.on_vercel and (name == "localhost" or (address is not None and address.is_loopback))


def _values(scope: Scope, wanted: bytes) -> list[str]:
    """The members of a list, which may be spread over several headers."""
    sent = [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
    return [value.strip() for value in ",".join(sent).split(",")]


def _last(scope: Scope, wanted: bytes) -> str:
    """What the nearest hop said."""
    return _values(scope, wanted)[-1]
