"""Sign-ins that were verified a moment ago: a page asks for many pictures with one token."""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.access.api_keys import CHALLENGE
from copperplate.errors import Unauthorized
from copperplate.strict_json import parse_object

if TYPE_CHECKING:
    from copperplate.model import User
    from copperplate.ports import Clock, Verifier

REMEMBERED: Final = timedelta(seconds=30)
MAX_TOKENS: Final = 1_024


class SignIns:
    """`Verifier` that remembers what another one accepted: for half a minute, never longer than the token lives."""

    def __init__(self, verifier: Verifier, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._accepted: OrderedDict[bytes, tuple[float, User]] = OrderedDict()

    async def verify(self, token: str) -> User:
        """See `Verifier.verify`. What was refused is verified anew; the refusal says that the token is at fault."""
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        now = self._clock.now().timestamp()
        until, user = self._accepted.get(digest, (0.0, None))
        if user is not None and now < until:
            return user
        try:
            user = await self._verifier.verify(token)
        except Unauthorized as error:
            error.challenge = CHALLENGE
            raise
        self._accepted[digest] = (min(now + REMEMBERED.total_seconds(), _expiry_of(token)), user)
        self._accepted.move_to_end(digest)
        if len(self._accepted) > MAX_TOKENS:
            self._accepted.popitem(last=False)
        return user

    async def close(self) -> None:
        """See `Verifier.close`."""
        await self._verifier.close()


def _expiry_of(token: str) -> float:
    """When a token that was verified expires, in seconds since 1970."""
    part = token.split(".")[1]
    claims = parse_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode())
    return float(claims["exp"])
