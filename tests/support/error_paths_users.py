"""Every way to an error on the routes for signed-in people, in the same form as `error_paths`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.adapters.system_clock import SystemClock
from tests.support.error_paths import PROMPT, SECRET, Path
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    Headers = tuple[tuple[str, str], ...]

# Whatever shows it shows the other secret too.
JWT_SECRET = SECRET * 2
# Of the project whose keys cannot be fetched: another issuer is refused before they are looked for.
UNREACHABLE_ISSUER = "http://127.0.0.1:1/auth/v1"
TOKENS = Tokens(LOCAL_ISSUER, SystemClock().now())
MEMOJI, CREDITS, GENERATION = "/api/generate-memoji", "/api/credits", f"/api/generations/{'0' * 64}"
ROUTES = {MEMOJI: "POST", CREDITS: "GET", GENERATION: "GET"}
JSON: Headers = (("content-type", "application/json"),)
SIGNED_IN: Headers = (("authorization", f"Bearer {TOKENS.hs(secret=JWT_SECRET.encode())}"),)
ASKED: Headers = (*SIGNED_IN, *JSON, ("idempotency-key", PROMPT))

NOT_SIGNED_IN: dict[str, Headers] = {
    "no header": (),
    "empty": (("authorization", ""),),
    "Bearer alone": (("authorization", "Bearer"),),
    "undefined": (("authorization", "Bearer undefined"),),
    "Basic": (("authorization", f"Basic {SECRET}"),),
    "the cron's secret": (("authorization", f"Bearer {SECRET}"),),
    "the very secret": (("authorization", f"Bearer {JWT_SECRET}"),),
    "a project's key": (("authorization", f"Bearer sb_secret_{SECRET}"),),
    "expired": (("authorization", f"Bearer {TOKENS.hs(secret=JWT_SECRET.encode(), exp=1)}"),),
    "service_role": (("authorization", f"Bearer {TOKENS.hs(secret=JWT_SECRET.encode(), role='service_role')}"),),
    "another secret": (("authorization", f"Bearer {TOKENS.hs(secret=b'x' * 48)}"),),
    "a key nobody has": (("authorization", f"Bearer {TOKENS.es()}"),),
    "two tokens": SIGNED_IN * 2,
    "no ascii": (("authorization", "Bearer \xe9\xff"),),
    "long": (("authorization", "Bearer " + "a" * 100_000),),
}
# Of images anybody is told: what has no form of a token is nobody's, and one token sent twice is one.
REFUSED = {"expired", "service_role", "another secret", "a key nobody has"}
BAD_WISHES: dict[str, tuple[str, int, Headers, bytes]] = {
    "no media type": ("unsupported_media_type", 415, (), b"{}"),
    "a form": ("unsupported_media_type", 415, (("content-type", "application/x-www-form-urlencoded"),), b"a=b"),
    "empty": ("invalid_body", 400, JSON, b""),
    "cut off": ("invalid_body", 400, JSON, b'{"hair":'),
    "an array": ("invalid_body", 400, JSON, b"[]"),
    "said twice": ("invalid_body", 400, JSON, b'{"hair":"short","hair":"long"}'),
    "no UTF-8": ("invalid_body", 400, JSON, b'{"hair":"\xff"}'),
    "2 MB": ("body_too_large", 413, JSON, b" " * 2_000_000),
    "unknown member": ("invalid_configuration", 400, JSON, json.dumps({"x": "y"}).encode()),
    "unknown value": ("invalid_configuration", 400, JSON, json.dumps({"gesture": "y"}).encode()),
    "unknown model": ("invalid_model", 400, JSON, json.dumps({"model": "dall-e-2"}).encode()),
    "an empty idempotency key": ("invalid_idempotency_key", 400, (*JSON, ("idempotency-key", "")), b"{}"),
    "a long idempotency key": ("invalid_idempotency_key", 400, (*JSON, ("idempotency-key", "k" * 256)), b"{}"),
    "two idempotency keys": ("invalid_idempotency_key", 400, (*JSON, *[("idempotency-key", "k")] * 2), b"{}"),
    "another host too": ("invalid_host", 400, (*JSON, ("host", "elsewhere.example")), b"{}"),
    "no credit": ("not_enough_credits", 402, JSON, b"{}"),
    "no credit, asked for later": ("not_enough_credits", 402, (*JSON, ("prefer", "respond-async")), b"{}"),
}


def user_paths() -> Iterator[Path]:
    """The whole table."""
    for route, method in ROUTES.items():
        for cause, headers in NOT_SIGNED_IN.items():
            refused = ("unauthorized", 401) if route != GENERATION or cause in REFUSED else ("not_found", 404)
            yield Path(route=route, method=method, cause=cause, code=refused[0], status=refused[1], headers=headers)
        for wrong in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"):
            if wrong != method:
                yield Path(route=route, method=wrong, cause="method", code="method_not_allowed", status=405)
        yield from _in_worlds(route, method)
    wish = Path(route=MEMOJI, method="POST", cause="", code="", status=0)
    for cause, (code, status, headers, body) in BAD_WISHES.items():
        yield replace(wish, cause=cause, code=code, status=status, headers=(*SIGNED_IN, *headers), body=body)
    yield replace(
        wish,
        cause="another wish under the same key",
        code="idempotency_conflict",
        status=409,
        world="asked before",
        headers=ASKED,
        body=b'{"familyType":"mother"}',
    )
    look = Path(route=GENERATION, method="GET", cause="", code="not_found", status=404, headers=SIGNED_IN)
    yield replace(look, cause="somebody else's")
    yield replace(look, cause="no key", target="/api/generations/" + PROMPT)


def _in_worlds(route: str, method: str) -> Iterator[Path]:
    base = Path(route=route, method=method, cause="asked", code="", status=503, headers=(*SIGNED_IN, *JSON), body=b"{}")
    yield replace(base, code="ledger_unavailable", world="ledger down")
    yield replace(base, code="internal", status=500, world="broken")
    if route == GENERATION:  # where nobody can sign in, a token is not valid
        yield replace(base, code="unauthorized", status=401, world="no cron secret")
    else:
        yield replace(base, code="misconfigured", world="no cron secret")
    yield replace(base, code="misconfigured", world="misconfigured")
    unknown = (("authorization", f"Bearer {TOKENS.es(iss=UNREACHABLE_ISSUER)}"),)
    yield replace(base, code="keys_unavailable", world="keys down", headers=unknown)
