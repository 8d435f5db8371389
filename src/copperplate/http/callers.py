"""Who sends a request: from its headers, its address and its connection to a `Caller`, every credential verified."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

from copperplate.access.api_keys import MARK, invalid_credential
from copperplate.access.caller import Caller
from copperplate.errors import CopperplateError, Misconfigured
from copperplate.http.credentials import read_credentials
from copperplate.http.origin import client_of
from copperplate.http.problems import Problem

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.api_keys import ApiKey
    from copperplate.http.credentials import Credentials
    from copperplate.http.wiring import Wiring
    from copperplate.model import User
    from copperplate.services import Services

# Routes that judge by a secret of their own first, and those that must not depend on the ledger.
_OWN_JUDGES: Final = frozenset({"/healthz", "/readyz", "/metrics", "/api/cache/cleanup"})


async def caller_of(scope: Scope, services: Services) -> Caller:
    """The caller of a request.

    Raises `Unauthorized` for a credential that is not valid, `TooManyWrongKeys`, and what the ledger raises.
    """
    address = caller_address(scope, services)
    sent = read_credentials(scope)
    key = None if sent.key is None else await _find_key(sent, address, services)
    user = None if sent.token is None else await _find_user(sent.token, services)
    return Caller(address=address, key=key, user=user)


async def key_of(scope: Scope, services: Services) -> ApiKey | None:
    """The API key of a request alone; no sign-in is judged. Raises as `caller_of`."""
    sent = read_credentials(scope)
    if sent.key is None:
        return None
    return await _find_key(sent, caller_address(scope, services), services)


def caller_address(scope: Scope, services: Services) -> str:
    """The address that a request comes from, as budgets and wrong keys are counted by it."""
    return address_of(client_of(scope, services.settings))


@lru_cache(1_024)
def address_of(client: IPv4Address | IPv6Address | None) -> str:
    """One caller's address: an IPv6 caller has a network of 64 bits, and any address in it."""
    if isinstance(client, IPv6Address):
        return str(IPv6Network((int(client) >> 64 << 64, 64)))
    return "unknown" if client is None else str(client)


class Identified:
    """ASGI: an API key that is not valid is refused by every route, those that need none included."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge the key, if there is one; pass the request on."""
        services = self._wiring.services
        if scope["type"] == "http" and services is not None and scope["path"] not in _OWN_JUDGES:
            try:
                await key_of(scope, services)
            except CopperplateError as error:
                await Problem.of(error).send(send, with_body=scope["method"] != "HEAD")
                return
        await self._app(scope, receive, send)


async def _find_key(sent: Credentials, address: str, services: Services) -> ApiKey:
    assert sent.key is not None  # noqa: S101 - see its callers
    key = await services.key_ring.find(sent.key, address)
    if key.is_visible or not sent.is_in_address:
        return key
    raise invalid_credential(
        "This is a secret API key, and addresses are written to logs: replace it at once by "
        f"`copperplate keys rotate {MARK}{key.prefix} --grace 0 --yes`. Only keys made with --visible may stand in "
        "?key=."
    )


async def _find_user(token: str, services: Services) -> User:
    try:
        return await services.verifier.verify(token)
    except Misconfigured as error:  # a server without users: a token of somebody's is not valid here
        raise invalid_credential(str(error)) from error
