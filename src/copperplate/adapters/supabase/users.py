"""Who a token is from: Supabase Auth's JSON Web Tokens, verified.

A key fixes its algorithm; what a token says of itself only picks the key. `jwt` is imported with the first token.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from copperplate.errors import Misconfigured, Unauthorized
from copperplate.model import User
from copperplate.strict_json import parse_object

if TYPE_CHECKING:
    from copperplate.adapters.supabase.keys import SigningKeys
    from copperplate.ports import Clock

AUDIENCE: Final = "authenticated"
ROLE: Final = "authenticated"
# Of tokens that `copperplate token` makes: no project's issuer, so none of them opens any.
LOCAL_ISSUER: Final = "https://copperplate.localhost/auth/v1"
MAX_TOKEN_CHARS: Final = 8_192
# How far the clocks of two machines may be apart.
LEEWAY_SECONDS: Final = 30

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIER: Final = re.compile(r"[a-z0-9_-]{1,32}")
_REFUSED: Final = "The token is not valid here. Sign in again and send the access token of that session."


class SupabaseUsers:
    """`Verifier` for one project: ES256 and RS256 by its published keys, HS256 by its legacy secret if that is set."""

    def __init__(self, *, issuer: str, keys: SigningKeys | None, secret: str | None, clock: Clock) -> None:
        self._issuer = issuer
        self._keys = keys
        self._secret = secret
        self._clock = clock

    async def verify(self, token: str) -> User:
        """See `Verifier.verify`."""
        if token.startswith(("sb_secret_", "sb_publishable_")):
            raise Unauthorized("This is a key of the project, not somebody's token: send a session's access token.")
        if len(token) > MAX_TOKEN_CHARS or _TOKEN.fullmatch(token) is None:
            raise Unauthorized(_REFUSED)
        header, claims = (_read(part) for part in token.split(".")[:2])
        # Before the key is looked for: what another project issued, or has expired, is refused whoever signed it.
        if claims.get("iss") != self._issuer:
            raise Unauthorized(_REFUSED)
        self._check_times(claims)
        key, algorithm = await self._key_of(header)
        self._check_signature(token, key, algorithm)
        subject = claims.get("sub")
        # Anonymous sign-ins are users too: they have an id, and credits only if somebody grants them some.
        if claims.get("role") != ROLE or not isinstance(subject, str) or _UUID.fullmatch(subject) is None:
            raise Unauthorized("This token is not a signed-in person's.")
        # Whatever is not plainly false is anonymous: strangers share one budget.
        is_anonymous = claims.get("is_anonymous") not in (None, False)
        return User(id=UUID(subject), is_anonymous=is_anonymous, tier=_tier_of(claims))

    async def close(self) -> None:
        """Let go of connections."""
        if self._keys is not None:
            await self._keys.close()

    async def _key_of(self, header: dict[str, Any]) -> tuple[Any, str]:
        """The key that this token must be signed with, and the one algorithm that goes with it."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header:
            raise Unauthorized(_REFUSED)
        if algorithm == "HS256" and self._secret is not None:
            return self._secret, "HS256"
        if self._keys is None or algorithm not in ("ES256", "RS256") or not isinstance(kid, str):
            raise Unauthorized(_REFUSED)
        found = await self._keys.find(kid)
        if found is None or found.algorithm_name != algorithm:
            raise Unauthorized(_REFUSED)
        return found.key, found.algorithm_name

    def _check_signature(self, token: str, key: Any, algorithm: str) -> None:
        import jwt

        # Times are checked by our own clock.
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["aud", "iss"]}
        try:
            jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=self._issuer, options=options)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthorized(_REFUSED) from None

    def _check_times(self, claims: dict[str, Any]) -> None:
        """Expiry is required; not-before and issue only have to lie in the past where they are given."""
        now = self._clock.now().timestamp()
        for name in ("exp", "nbf", "iat"):
            if name not in claims and name != "exp":
                continue
            time = claims.get(name)
            if isinstance(time, bool) or not isinstance(time, int | float) or not 0 < time < 2**53:
                raise Unauthorized(_REFUSED)
            if (time <= now - LEEWAY_SECONDS) if name == "exp" else (time > now + LEEWAY_SECONDS):
                raise Unauthorized("The token has expired, or is not valid yet. Sign in again.")


class NobodySignsIn:
    """`Verifier` of a server that knows no users; `remedy` says what would change that."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    async def verify(self, token: str) -> User:
        """Raises `Misconfigured`, naming the variables to set."""
        raise Misconfigured(f"Nobody can sign in here: {self._remedy}.")

    async def close(self) -> None:
        """Nothing is open."""


def _tier_of(claims: dict[str, Any]) -> str | None:
    """What the owner of the project wrote there: users cannot change `app_metadata`, as they can `user_metadata`."""
    metadata = claims.get("app_metadata")
    tier = metadata.get("tier") if isinstance(metadata, dict) else None
    return tier if isinstance(tier, str) and _TIER.fullmatch(tier) else None


def _read(part: str) -> dict[str, Any]:
    """A part of a token as an object in UTF-8 that says nothing twice."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        return parse_object(raw.decode())
    except ValueError:
        raise Unauthorized(_REFUSED) from None


def make_local_token(user: UUID, secret: str, *, seconds: int) -> str:
    """A token for the server on this machine, which alone knows `secret`; good for `seconds`."""
    import time

    import jwt

    now = int(time.time())
    claims = {
        "sub": str(user),
        "role": ROLE,
        "aud": AUDIENCE,
        "iss": LOCAL_ISSUER,
        "iat": now,
        "exp": now + seconds,
    }
    return jwt.encode(claims, secret, algorithm="HS256")
