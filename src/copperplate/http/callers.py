"""Who sends a request: from its headers and its connection to a `Caller`."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from copperplate.access.caller import Caller
from copperplate.http.origin import client_of

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from starlette.types import Scope

    from copperplate.services import Services


async def caller_of(scope: Scope, services: Services) -> Caller:
    """The caller of a request."""
    return Caller(address=address_of(client_of(scope, services.settings)))


def address_of(client: IPv4Address | IPv6Address | None) -> str:
    """One caller's address: an IPv6 caller has a network of 64 bits, and any address in it."""
    if isinstance(client, IPv6Address):
        return str(IPv6Network((int(client) >> 64 << 64, 64)))
    return "unknown" if client is None else str(client)
